"""Fuzzing: everything that reads what strangers send, fed with what no honest client would. See docs/fuzzing.md."""

"""Decisions about packets, made without I/O: every call takes `now`, in seconds of any steady clock."""

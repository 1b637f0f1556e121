"""The wire protocol's events as values: what clients send, what they are told, and its JSON Schema."""

"""A client's TCP connection: who may open one, its WebSocket frames, its limits and its signs of life."""

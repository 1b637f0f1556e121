"""The server as a process: what it tells its service manager, and what the system allows it."""

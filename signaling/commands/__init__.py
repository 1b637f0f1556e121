"""The subcommands of `aiosfu` that are not `serve`."""

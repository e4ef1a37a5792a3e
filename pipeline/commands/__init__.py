"""The subcommands of `retort`, one module each: `configure(parser)` and `main(args) -> exit code`."""

"""Running programs that a model wrote, in a child process that can only state answers."""

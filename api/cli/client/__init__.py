"""How the CLI finds, calls and follows a daemon."""

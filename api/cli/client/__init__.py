"""How the CLI finds and asks a daemon."""

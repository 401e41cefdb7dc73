"""The ways in: sockets, HTTP and the CLI."""

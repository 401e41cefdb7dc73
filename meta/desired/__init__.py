"""The meta repo: what is desired, with one commit point."""

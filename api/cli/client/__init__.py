"""The CLI's side of a daemon: its paths, its HTTP client, following its events."""

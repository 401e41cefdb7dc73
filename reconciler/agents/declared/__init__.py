"""The agents that the host's configuration declares."""

"""Bind a unix socket, and identify who calls on it."""

"""Bind a unix socket; say who calls on it."""

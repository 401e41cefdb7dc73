"""Verify meta, tags and events against each other."""

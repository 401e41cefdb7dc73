"""The audit: meta, tags and events are compared with each other."""

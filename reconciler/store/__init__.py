"""SQLite: a projection of git, and the store of messages, events and counters."""

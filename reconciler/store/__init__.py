"""SQLite: a projection of git, and the home of messages, events and counters."""

"""Which system calls a sandbox refuses: one table, a filter program and a reference page made from it."""

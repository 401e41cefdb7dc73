"""The loop that decides when an agent is reconciled, and its keyed queue."""

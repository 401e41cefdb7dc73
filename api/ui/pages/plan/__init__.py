"""The page Plan: what the loop does next, and why."""

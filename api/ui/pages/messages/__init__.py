"""The page Messages: who talks to whom, and dead letters."""

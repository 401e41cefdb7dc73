"""The agent's own pod: its socket, its states, and what its clients see of a turn (seed 004_f087a6b7c1abf493.txt)."""

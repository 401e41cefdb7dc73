"""The page Agents: each with its phase, its turn and its cost."""

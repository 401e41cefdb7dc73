"""The page Agent: one agent: its turn as it happens, and all about it."""

"""The page Needs you: what waits for a decision, an answer or a login, most urgent first."""

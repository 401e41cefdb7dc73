"""What a coding agent is told and allowed: the prompts of the roles, and the settings of its CLI."""

"""How a commit becomes a generation."""

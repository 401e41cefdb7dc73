"""Ways to build a commit into a generation."""

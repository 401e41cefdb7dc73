"""What can take a turn."""

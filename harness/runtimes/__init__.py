"""The programs that can do a turn."""

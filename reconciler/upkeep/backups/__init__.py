"""Backups of a hive: what is in one, how it is written, and how it is brought back."""

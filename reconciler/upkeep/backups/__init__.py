"""Backups of a hive: their format, how they are written, and how they are restored."""

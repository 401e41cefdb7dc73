"""Words between people and hive, for the command line and for pages: what happened, and what a typed line means.

Pure, and quick to import.
"""

"""Examine a hive and report what needs an operator."""

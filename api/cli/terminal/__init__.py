"""Terminals and namespaces, for `hive shell` and `hive edit`."""

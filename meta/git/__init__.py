"""hive's own bare repositories. The only user of GitPython."""

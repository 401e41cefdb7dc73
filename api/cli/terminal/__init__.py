"""What `hive shell` needs of a terminal and of namespaces."""

"""Inside the container: turns, runtimes and the links to hive."""

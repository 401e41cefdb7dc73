"""Words for people about what hive did, for the command line and for pages. Pure, and quick to import."""

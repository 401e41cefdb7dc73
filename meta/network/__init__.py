"""The way out as values: rules, what is refused and why, what the daemon and `hive-egress` say to each other."""

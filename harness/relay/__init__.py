"""Loopback ports inside the container, for a CLI that speaks HTTP over TCP only, in front of hive's unix sockets."""

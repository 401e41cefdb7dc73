"""The controllers of control groups with which hive limits agents."""

CONTROLLERS = ("memory", "pids", "cpu")

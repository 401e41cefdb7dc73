"""Every program that hive starts: run it, record it for recovery, confine it."""

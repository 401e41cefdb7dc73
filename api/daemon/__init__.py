"""`hive serve` in the daemon's process: every socket, the log, systemd's notifications."""

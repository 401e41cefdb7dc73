"""Tools that an operator runs, with a daemon or without: doctor, audit, backups. The migration from an older hive."""

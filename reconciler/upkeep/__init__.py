"""Tools that an operator runs, with a daemon or without: doctor, audit, backups."""

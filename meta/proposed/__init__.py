"""What others write: created by hive, read only through quarantine, never opened."""

"""Repos that agents and people write. hive creates them, and reads them only through quarantine."""

"""Every operation of hive, in one table: `table.py`. All surfaces are built from it."""

"""Everything that can be asked of hive, as one table: `table.py`. The surfaces are built from it."""

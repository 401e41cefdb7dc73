"""The statistics of turns that agents claim, and the budgets that hive enforces by them."""

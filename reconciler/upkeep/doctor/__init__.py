"""The examination of a hive: it reports what needs an operator, and repairs what is safe to repair."""

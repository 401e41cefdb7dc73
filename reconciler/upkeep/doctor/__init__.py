"""The examination of a hive: report, and repair if safe, what needs an operator."""

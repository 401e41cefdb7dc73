"""Pictures of every page of the dashboard, from a hive in which real operations have happened. `make screenshots`."""

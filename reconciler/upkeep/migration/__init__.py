"""The migration of agents of an older hive at the start of a daemon: look, plan, act."""

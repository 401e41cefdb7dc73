"""The root helper: a few verbs on validated names and store paths, and the daemon's client for them."""

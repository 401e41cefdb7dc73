"""The composition root: makes one of each part, recovers, runs the endless tasks."""

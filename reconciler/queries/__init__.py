"""The views: status, cards, diffs, logs. They change nothing."""

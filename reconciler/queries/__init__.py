"""What is shown: status, cards, diffs, logs. Nothing here changes anything."""

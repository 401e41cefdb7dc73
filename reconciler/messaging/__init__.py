"""What agents and the operator ask of each other and of hive for later: questions, reminders, loose ends."""

"""Messages between agents, the manager and the operator; questions, reminders and loose ends."""

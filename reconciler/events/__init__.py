"""The sequence of events with its subscribers, and the transitions that become events."""

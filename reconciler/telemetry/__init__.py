"""Metrics, traces, and which agent, pass and step a task works on."""

"""Metrics, traces, and the activity of tasks: agent, pass and step."""

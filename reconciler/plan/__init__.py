"""Decide the next step of every agent. Pure: no I/O, no clock, no import of another room."""

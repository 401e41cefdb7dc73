"""Helpers that several rooms use. They know no agent and import no other room."""

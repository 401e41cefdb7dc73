"""Passkeys in the browser: the questions that a script asks before it sends a form."""

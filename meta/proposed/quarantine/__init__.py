"""Fetch one commit from a repo that an agent can write, check it, hand it to the applied repo."""

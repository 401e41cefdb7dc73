"""Desired state: names, models, wire types, git repositories, tags and the meta flake. No sockets, no database."""

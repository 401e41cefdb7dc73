"""Containers as systemd units on a NixOS host: nixos-container behind the root helper, state from D-Bus signals."""

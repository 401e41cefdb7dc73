"""Containers as systemd units on a NixOS host: nixos-container behind the root helper, state from D-Bus signals."""

from reconciler.backends.nixos.backend import NixosBackend
from reconciler.backends.nixos.bus import Bus
from reconciler.backends.nixos.helper import RootHelper

__all__ = ["Bus", "NixosBackend", "RootHelper"]

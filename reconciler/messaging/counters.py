"""Counters of the broker. Telemetry implements them without importing the broker, which lies above it."""

from __future__ import annotations

from typing import Protocol


class Counters(Protocol):
    """Counters of messages on their way through the broker."""

    def accept(self) -> None:
        """Count a message that was accepted."""

    def refuse(self, *, transient: bool) -> None:
        """Count a message that was refused. `transient`: a later attempt may be accepted."""

    def deliver(self) -> None:
        """Count a message that was delivered, for the first time or again."""

    def acknowledge(self, count: int) -> None:
        """Count messages that were acknowledged."""

    def requeue(self, count: int) -> None:
        """Count messages that wait again."""


class NoCounters:
    """Counters that keep nothing."""

    def accept(self) -> None:
        """Count nothing."""

    def refuse(self, *, transient: bool) -> None:
        """Count nothing."""

    def deliver(self) -> None:
        """Count nothing."""

    def acknowledge(self, count: int) -> None:
        """Count nothing."""

    def requeue(self, count: int) -> None:
        """Count nothing."""

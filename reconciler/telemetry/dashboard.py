"""Whether the dashboard is served, and why not: what its listener reports, for status, attention and metrics."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class DashboardState:
    """The state of the dashboard of one daemon. `origin` is "" if there is no dashboard."""

    def __init__(self) -> None:
        self.origin = ""
        self.served = False
        self._troubles: dict[str, str] = {}

    @property
    def wanted(self) -> bool:
        """Return True if there should be a dashboard."""
        return bool(self.origin or self._troubles)

    def expect(self, origin: str) -> None:
        """Record the origin by which browsers will come."""
        self.origin = origin

    def serve(self) -> None:
        """Record that the dashboard answers."""
        self.served = True

    def stop(self) -> None:
        """Record that it does not answer any more."""
        self.served = False

    def fail(self, what: str, text: str) -> None:
        """Record why `what` (a word for the part that fails) does not work. Each text is logged once."""
        if self._troubles.get(what) != text:
            log.error("%s", text)
        self._troubles[what] = text

    def mend(self, what: str) -> None:
        """Forget the trouble with `what`."""
        if self._troubles.pop(what, None) is not None:
            log.info("the dashboard works again: %s", what)

    def troubles(self) -> tuple[tuple[str, str], ...]:
        """Return what an operator should know: the part, and why it does not work."""
        return tuple(sorted(self._troubles.items()))

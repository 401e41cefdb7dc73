"""The runs of containers: which one it is, and how it ended, brought to disk when the unit changes.

A start is one run although the helper may have to try twice, so nothing ends while it is under way.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from meta.names import AgentName
from meta.process.identity import boot_id
from reconciler.backends.nixos.records import NixosPlace, UnitRun
from reconciler.backends.nixos.units import UnitView, judge
from reconciler.common.files import write_json
from reconciler.plan.observed import Exit, Launch

log = logging.getLogger(__name__)


class Runs:
    """What is known beyond the disk: starts under way, and ends that could not be written."""

    def __init__(self) -> None:
        self._boot = boot_id()
        self._starting: set[AgentName] = set()
        self._failed: dict[AgentName, UnitView] = {}
        self._exits: dict[AgentName, Exit] = {}

    def exit(self, place: NixosPlace) -> Exit | None:
        """How the last run that ended did."""
        return self._exits.get(place.agent) or place.exit.get()

    def forget(self, agent: AgentName) -> None:
        """The container is gone, or made anew."""
        self._exits.pop(agent, None)
        self._failed.pop(agent, None)

    def settle(self, place: NixosPlace, view: UnitView | None) -> None:
        """Bring run.json and exit.json up to date with the unit; `view` None: nothing is known, so nothing ends."""
        run = place.run.get()
        if run is None or view is None:
            return
        if view.up:
            self._note_invocation(place, run, view)
            return
        known = self.exit(place)
        if known is not None and known.nonce == run.nonce:
            return
        if place.agent in self._starting:  # a new invocation shows before the unit is up, too
            if view.invocation and view.invocation == run.invocation:
                self._failed[place.agent] = view
            return
        if not view.invocation:  # systemd forgot the unit: one that ended well, or in a start that just failed
            view = self._failed.get(place.agent, view)
        ended = judge(run, view, self._boot, time.time())
        if ended is not None:
            self._keep(place, ended)

    def _note_invocation(self, place: NixosPlace, run: UnitRun, view: UnitView) -> None:
        if view.invocation in ("", run.before, run.invocation):
            return
        with logged(f"cannot note the start of {place.agent}"):
            noted = replace(run, invocation=view.invocation, boot=self._boot)
            write_json(place.folder / "run.json", asdict(noted), sync=False)

    def _keep(self, place: NixosPlace, ended: Exit) -> None:
        """Not synced: after a crash of the host the boot id says that it is over."""
        self._exits[place.agent] = ended
        with logged(f"cannot note the end of {place.agent}"):
            write_json(place.folder / "exit.json", asdict(ended), sync=False)

    # a start
    @contextlib.contextmanager
    def starting(self, place: NixosPlace) -> Iterator[None]:
        """While it lasts no end is noted."""
        self._failed.pop(place.agent, None)
        self._starting.add(place.agent)
        try:
            yield
        finally:
            self._starting.discard(place.agent)

    def record(self, place: NixosPlace, launch: Launch, before: str) -> None:
        """run.json of a start that is about to be. OSError for a full disk."""
        write_json(place.folder / "run.json", asdict(UnitRun(launch.nonce, launch, self._boot, before)))

    def take_back(self, place: NixosPlace, former: UnitRun | None) -> None:
        """The start never was."""
        with logged(f"cannot take back the start of {place.agent}"):
            if former is not None:
                write_json(place.folder / "run.json", asdict(former))
            else:
                (place.folder / "run.json").unlink(missing_ok=True)

    def failed_in_start(self, agent: AgentName) -> bool:
        """Whether the run came up in its start and ended."""
        return agent in self._failed

    def again(self, agent: AgentName) -> None:
        """The same start is tried once more."""
        self._failed.pop(agent, None)


@contextlib.contextmanager
def logged(what: str) -> Iterator[None]:
    """A failing disk where nobody can be told: what is known stays in memory."""
    try:
        yield
    except OSError as error:
        log.error("%s: %s", what, error)

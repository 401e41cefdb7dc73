"""The runs of containers: the identity and the end of each run, recorded when the unit changes.

A start is one run, although the helper may need two attempts. So no end is recorded while a start is under way.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from meta.names import AgentName
from meta.process.identity import boot_id
from reconciler.backends.nixos.records import NixosRecords, UnitRun
from reconciler.backends.nixos.units import UnitView, judge
from reconciler.common.files import write_json
from reconciler.plan.observed import Exit, Launch

log = logging.getLogger(__name__)


class Runs:
    """The runs of all containers.

    Two things are only in memory: starts under way, and ends that could not be written.
    """

    def __init__(self) -> None:
        self._boot = boot_id()
        self._starting: set[AgentName] = set()
        self._failed: dict[AgentName, UnitView] = {}
        self._exits: dict[AgentName, Exit] = {}

    def exit(self, records: NixosRecords) -> Exit | None:
        """Return the exit of the last run that ended."""
        return self._exits.get(records.agent) or records.exit.get()

    def forget(self, agent: AgentName) -> None:
        """Forget a container that was removed or made again."""
        self._exits.pop(agent, None)
        self._failed.pop(agent, None)

    def settle(self, records: NixosRecords, view: UnitView | None) -> None:
        """Update run.json and exit.json from the unit. Without a `view` the unit is unknown, so no run ends."""
        run = records.run.get()
        if run is None or view is None:
            return
        if view.up:
            self._note_invocation(records, run, view)
            return
        known = self.exit(records)
        if known is not None and known.nonce == run.nonce:
            return
        if records.agent in self._starting:  # a new invocation appears before the unit is up, too
            if view.invocation and view.invocation == run.invocation:
                self._failed[records.agent] = view
            return
        if not view.invocation:  # systemd forgot the unit: one that ended well, or in a start that just failed
            view = self._failed.get(records.agent, view)
        ended = judge(run, view, self._boot, time.time())
        if ended is not None:
            self._keep(records, ended)

    def _note_invocation(self, records: NixosRecords, run: UnitRun, view: UnitView) -> None:
        if view.invocation in ("", run.before, run.invocation):
            return
        with logged(f"cannot note the start of {records.agent}"):
            noted = replace(run, invocation=view.invocation, boot=self._boot)
            write_json(records.folder / "run.json", asdict(noted), sync=False)

    def _keep(self, records: NixosRecords, ended: Exit) -> None:
        """Record the end. The file is not synced: after a crash of the host the boot id shows that the run is over."""
        self._exits[records.agent] = ended
        with logged(f"cannot note the end of {records.agent}"):
            write_json(records.folder / "exit.json", asdict(ended), sync=False)

    # a start
    @contextlib.contextmanager
    def starting(self, records: NixosRecords) -> Iterator[None]:
        """Record no end while the block runs."""
        self._failed.pop(records.agent, None)
        self._starting.add(records.agent)
        try:
            yield
        finally:
            self._starting.discard(records.agent)

    def record(self, records: NixosRecords, launch: Launch, before: str) -> None:
        """Write run.json before a start. Raise OSError if the disk fails."""
        write_json(records.folder / "run.json", asdict(UnitRun(launch.nonce, launch, self._boot, before)))

    def take_back(self, records: NixosRecords, former_run: UnitRun | None) -> None:
        """Restore the former run, because the start has not happened."""
        with logged(f"cannot take back the start of {records.agent}"):
            if former_run is not None:
                write_json(records.folder / "run.json", asdict(former_run))
            else:
                (records.folder / "run.json").unlink(missing_ok=True)

    def failed_in_start(self, agent: AgentName) -> bool:
        """Return True if the run came up during its start and ended."""
        return agent in self._failed

    def retry(self, agent: AgentName) -> None:
        """Retry the same start once."""
        self._failed.pop(agent, None)


@contextlib.contextmanager
def logged(what: str) -> Iterator[None]:
    """Log an error of the disk if no caller could handle it. The record stays in memory."""
    try:
        yield
    except OSError as error:
        log.error("%s: %s", what, error)

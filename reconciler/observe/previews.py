"""The preview of each open proposal, as a file: the lines of its card, and what its approval is bound to.

    previews/<agent>/<id>.json

The step `preview` writes it if the builder can preview. A lost file is made again, at the cost of an evaluation.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from meta import own_file
from meta.approval import Binding
from meta.errors import Damaged, TransientError
from meta.layout import Layout
from meta.names import AgentName, ProposalId
from meta.nix.summary import FORM, Summary
from reconciler.common.files import write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Previewed:
    """One preview.

    `lines`: the differences from what runs. `complaint`: why it cannot be built; there is no summary then. `same`: meta
    pins the same derivation for the agent now. `tries`: how often it reached a limit of time or memory. After
    `again_at` (Unix seconds) hive tries once more; None: it does not. `revision` is what a build would have recorded,
    and `form` the form of summaries, when it was made.
    """

    shown: Binding
    lines: tuple[str, ...] = ()
    complaint: str | None = None
    summary: Summary | None = None
    same: bool = False
    tries: int = 0
    again_at: float | None = None
    revision: str = ""
    form: int = 0


_PREVIEWED = TypeAdapter(Previewed)


class Previews:
    """The previews of all agents of one hive. One per daemon."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[AgentName, dict[ProposalId, Previewed]] = {}
        self._written = asyncio.Event()
        self.running: dict[AgentName, ProposalId] = {}
        """The id that each agent's worker evaluates now."""

    def of(self, agent: AgentName) -> Mapping[ProposalId, Previewed]:
        """Return the previews of an agent by id. They are read from disk once."""
        if agent not in self._known:
            folder = self._layout.previews(agent)
            paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
            self._known[agent] = {id: preview for path in paths for id, preview in _read(path)}
        return self._known[agent]

    def settled(self, agent: AgentName, now: float, revision: str = "") -> frozenset[ProposalId]:
        """Return the ids that need no new preview at `now`, in Unix seconds, if a build would record `revision`."""
        return frozenset(
            id
            for id, each in self.of(agent).items()
            if (each.again_at is None or now < each.again_at) and not is_outdated(each, revision)
        )

    def drop(self, agent: AgentName, id: ProposalId) -> None:
        """Remove the preview of `id`, so that it is made again. Raise TransientError if the disk fails."""
        try:
            self._layout.preview(agent, id).unlink(missing_ok=True)
        except OSError as error:
            raise TransientError(f"cannot remove the preview of {id}: {error.strerror}", "try again") from error
        self._known[agent] = {other: each for other, each in self.of(agent).items() if other != id}

    def write(
        self, agent: AgentName, id: ProposalId, previewed: Previewed, keep: frozenset[ProposalId], revision: str = ""
    ) -> None:
        """Write `previewed`, and remove the previews of ids that are not in `keep`.

        It is settled for `revision` from now on, also if it shows no change. Raise TransientError if the disk fails.
        """
        known, previewed = dict(self.of(agent)), replace(previewed, revision=revision, form=FORM)
        try:
            self._layout.previews(agent).mkdir(parents=True, exist_ok=True)
            write_json(self._layout.preview(agent, id), _PREVIEWED.dump_python(previewed), sync=False)
            for old in known.keys() - keep - {id}:
                self._layout.preview(agent, old).unlink(missing_ok=True)
                del known[old]
        except OSError as error:
            raise TransientError(f"cannot write the preview of {id}: {error.strerror}", "is the disk full?") from error
        self._known[agent] = {**known, id: previewed}
        self._written.set()

    async def wait(self, agent: AgentName, id: ProposalId, seconds: float) -> Previewed:
        """Wait for the preview of `id`, and return it. Raise TransientError after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while (previewed := self.of(agent).get(id)) is None:
                    self._written.clear()
                    await self._written.wait()
                return previewed
        except TimeoutError as error:
            raise TransientError(
                f"proposal {id} is not evaluated yet", f"see `hive plan {agent}`, then approve again"
            ) from error

    def forget(self, agent: AgentName) -> None:
        """Remove the previews of a purged agent."""
        shutil.rmtree(self._layout.previews(agent), ignore_errors=True)
        self._known.pop(agent, None)


def is_outdated(previewed: Previewed, revision: str) -> bool:
    """Return True if it was made for other shared inputs than a build would use now, or with another form of summaries.

    An approval on other inputs would fail. What the preview shows is not compared: a rollback is evaluated on the
    inputs of its target, and never has those of `revision`.
    """
    return previewed.form != FORM or (bool(revision) and previewed.revision != revision)


def _read(path: Path) -> list[tuple[ProposalId, Previewed]]:
    try:
        return [(ProposalId(int(path.stem)), _PREVIEWED.validate_json(own_file.read(path)))]
    except (OSError, Damaged, ValueError, ValidationError) as error:
        log.warning("%s is skipped and will be made again: %s", path, error)
        return []

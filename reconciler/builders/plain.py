"""Builder `plain`: a generation is the commit's tree, checked out, with its validated settings.

    generations/<agent>/<id>/tree/             the files, read-only; /config in the container
    generations/<agent>/<id>/generation.json   id, agent, sha, fingerprint, revision, runtime, settings

Needs no nix. `agent.nix` is parsed if nix is installed, else only copied.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from meta import nix
from meta.agent_toml.settings import AgentSettings
from meta.applied.repo import Applied
from meta.approval import Binding
from meta.config import Config
from meta.errors import PermanentError
from meta.git.repo import FileAt
from meta.layout import Layout
from meta.model import Generation
from meta.names import AgentName, GenerationId, ProposalId, Sha
from meta.process.disk import disk_error
from meta.process.recorder import Recorder
from reconciler.builders import tree
from reconciler.builders.agent_files import NIX_FILE, parse_nix, settings_of
from reconciler.builders.base import BuildRequest, Preview
from reconciler.builders.roots import Roots
from reconciler.common.generation import LINK, content_hash, generation_id, read_record, whole_content

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Record:
    id: str
    runtime: str


_RECORD = TypeAdapter(_Record)


def _no_preview() -> PermanentError:
    return PermanentError("builder plain previews nothing", "`hive diff` shows what a proposal changes")


def _recorded_id(system: Path) -> str | None:
    """Return the id in a generation.json, None if it is damaged. Raise OSError."""
    try:
        return _RECORD.validate_json(read_record(system) or b"").id
    except ValidationError as error:
        log.warning(
            "%s is damaged, so that it is built again: %s", system / "generation.json", error.errors()[0]["msg"]
        )
        return None


class PlainBuilder:
    """The builder `plain`. `applied` returns an agent's applied repo; `revision` is hive's own.

    `recorder` records the processes that it starts, so that a later daemon can end them.
    """

    name = "plain"
    previews = False

    def __init__(
        self,
        layout: Layout,
        config: Config,
        applied: Callable[[AgentName], Applied],
        revision: str,
        recorder: Recorder | None = None,
    ) -> None:
        self._layout = layout
        self._config = config
        self._applied = applied
        self._revision = revision
        self._recorder = recorder
        self._roots = Roots(layout)
        self._parsed: set[str] = set()
        self._names: dict[Path, str] = {}
        self._read: dict[Path, tuple[int, int, int]] = {}
        self._damaged: set[Path] = set()

    async def revision(self, head: Sha) -> str:
        """Return hive's own revision. This builder reads none from meta."""
        return self._revision

    async def nixpkgs(self, head: Sha) -> str:
        """Return "": this builder uses no nixpkgs."""
        return ""

    async def modules(self, head: Sha) -> str:
        """Return "": this builder builds no modules."""
        return ""

    async def check(self, agent: AgentName, sha: Sha) -> None:
        """Check paths, agent.toml, and the syntax of agent.nix if nix is installed."""
        await self._checked(agent, sha)

    async def _checked(self, agent: AgentName, sha: Sha) -> tuple[Mapping[str, FileAt], AgentSettings]:
        files = await self._applied(agent).files(sha)
        await asyncio.to_thread(tree.check_paths, files)
        settings = await settings_of(files)
        try:
            await self._parse_nix(files)
        except OSError as error:
            raise disk_error(f"cannot parse {NIX_FILE} of {agent}", error) from error
        return files, settings

    async def preview(self, request: BuildRequest) -> Preview:
        """Raise PermanentError: this builder previews nothing."""
        raise _no_preview()

    async def shown(self, request: BuildRequest) -> Binding:
        """Raise PermanentError: this builder previews nothing."""
        raise _no_preview()

    async def build(self, request: BuildRequest) -> Generation:
        """Check out, validate and root.

        The same request gives the same generation. A damaged one is made again.
        """
        files, settings = await self._checked(request.agent, request.sha)
        fingerprint = request.settings.fingerprint()
        id = generation_id(request.sha, await asyncio.to_thread(content_hash, files), fingerprint, self._revision)
        system = self._layout.generation(request.agent, id)
        generation = Generation(id, request.agent, request.sha, system, fingerprint, self._revision)
        record = {
            "id": id,
            "agent": request.agent,
            "sha": request.sha,
            "fingerprint": fingerprint,
            "revision": self._revision,
            "runtime": str(settings.runtime),
            "settings": settings.model_dump(mode="json", by_alias=True),
        }
        encoded = json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"
        try:
            await asyncio.to_thread(tree.place, system, files, encoded)
            self._roots.write(request.agent, request.id, generation)
            self._damaged.discard(system)
        except OSError as error:
            raise disk_error(f"cannot build generation {id} of {request.agent}", error) from error
        return generation

    async def _parse_nix(self, files: Mapping[str, FileAt]) -> None:
        """Parse agent.nix if nix is installed. The same content is parsed once."""
        file, tool = files.get(NIX_FILE), nix.find(self._recorder)
        if file is None or file.mode == LINK or tool is None:
            return
        digest = hashlib.sha256(file.data).hexdigest()
        if digest in self._parsed:
            return
        await parse_nix(tool, file)
        self._parsed.add(digest)

    async def reuse(self, request: BuildRequest, target: ProposalId) -> bool:
        """Root the generation of `target` for `request` as well.

        Return False if it is gone, damaged or for other settings.
        """
        generation = self.built(request.agent).get(target)
        if generation is None or generation.fingerprint != request.settings.fingerprint():
            return False
        wanted = await asyncio.to_thread(content_hash, await self._applied(request.agent).files(request.sha))
        if await asyncio.to_thread(whole_content, generation.system) != wanted:
            log.warning("%s is damaged, so that %s is built anew", generation.system, request.id)
            return False
        self._roots.write(request.agent, request.id, replace(generation, sha=request.sha))
        return True

    async def intact(self, generation: Generation) -> bool:
        """Return True if the files of `generation` are those that were built; else `built` lacks it from now on."""
        if await asyncio.to_thread(whole_content, generation.system) is not None:
            return True
        log.warning("%s is damaged, so that it is built again", generation.system)
        self._damaged.add(generation.system)
        return False

    def built(self, agent: AgentName) -> Mapping[ProposalId, Generation]:
        """Return the generation of each rooted id, if its generation.json is whole and `intact` found no damage.

        This costs one stat per generation. A file is read only if it changed.
        """
        roots = self._roots.read(agent)
        if all(self._is_whole(each) for each in roots.values()):
            return roots
        return MappingProxyType({id: each for id, each in roots.items() if self._is_whole(each)})

    def _is_whole(self, generation: Generation) -> bool:
        system = generation.system
        if system in self._damaged:
            return False
        name = self._names.get(system) or self._names.setdefault(system, str(system / "generation.json"))
        try:
            status = os.stat(name)  # noqa: PTH116 - a pathlib object costs more than the call
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if self._read.get(system) != stamp:
                if not stat.S_ISREG(status.st_mode) or _recorded_id(system) != generation.id:
                    return False
                self._read[system] = stamp
        except OSError:
            return False
        return True

    async def prune(
        self,
        agent: AgentName,
        keep: frozenset[GenerationId],
        roots: frozenset[ProposalId],
        ended: frozenset[ProposalId] = frozenset(),
    ) -> None:
        """Drop the roots of other ids, the generations of `ended` ids only, and the oldest beyond `keep_generations`.

        A rooted generation stays.
        """
        try:
            useless = frozenset(each.id for id, each in self._roots.read(agent).items() if id in ended - roots)
            self._roots.drop(agent, roots)
            protected = keep | {each.id for each in self._roots.read(agent).values()}
            await asyncio.to_thread(self._prune, self._layout.generations(agent), protected, useless - protected)
        except OSError as error:
            raise disk_error(f"cannot prune the generations of {agent}", error) from error
        self._read.clear()

    def _prune(self, folder: Path, protected: frozenset[GenerationId], useless: frozenset[GenerationId]) -> None:
        if not folder.is_dir():
            return
        tree.clean(folder)
        newest = sorted(folder.iterdir(), key=lambda path: (path.lstat().st_mtime_ns, path.name), reverse=True)
        useful = [path for path in newest if path.name not in useless]
        for path in [*useful[self._config.keep_generations :], *(path for path in newest if path.name in useless)]:
            if path.name not in protected:
                tree.retire(path)

    async def forget(self, agent: AgentName) -> None:
        """Remove the agent's roots and generations."""
        try:
            self._roots.forget(agent)
            await asyncio.to_thread(self._forget, agent)
        except OSError as error:
            raise disk_error(f"cannot remove the generations of {agent}", error) from error
        self._read.clear()

    def _forget(self, agent: AgentName) -> None:
        folder = self._layout.generations(agent)
        if folder.is_dir():
            for path in list(folder.iterdir()):
                tree.retire(path)
            folder.rmdir()
        roots = self._layout.roots(agent)
        if roots.is_dir():
            shutil.rmtree(roots)

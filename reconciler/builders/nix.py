"""Builder `nix`: a generation is the system that the meta flake's candidate gives the agent.

    generations/<agent>/<id>   gc root: a link to the system in the nix store, which is what the container is set to
    nix/agents/<agent>/        nix's caches for this agent: `evaluate` and `build`, because they run as different users
    nix/inputs/                gc roots of the shared inputs, because an evaluation has no network to fetch them again

A build parses agent.nix, evaluates the candidate to a derivation in the jail of meta.nix, and realises that. The
generation's id is derived from the derivation. So the same candidate gives the same generation, and the deploy of
another agent changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from meta.applied.repo import Applied
from meta.approval import Binding
from meta.config import Config
from meta.desired import flake, flake_lock
from meta.desired.reader import MAIN, candidate_ref
from meta.desired.summary import SUMMARISE
from meta.errors import BuildFailed, NotFound, PermanentError
from meta.git.repo import GitRepo
from meta.layout import Layout
from meta.model import Generation
from meta.names import AgentName, GenerationId, ProposalId, Sha
from meta.nix import Evaluation, Nix, complaints, summary
from meta.own_file import sync_folder
from meta.process.disk import disk_error
from reconciler.builders import inputs
from reconciler.builders.agent_files import NIX_FILE, parse_nix, settings_of
from reconciler.builders.base import BuildRequest, Preview
from reconciler.builders.roots import Roots
from reconciler.common.generation import LINK

OnLog = Callable[[AgentName, ProposalId, str], None]
"""Called with each line that the build of an id writes."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One candidate, ready to be evaluated. `places`: see meta.nix.complaints."""

    evaluation: Evaluation
    places: Mapping[str, str]
    lock: bytes | None


def usable(nix: Nix | None, config: Config) -> Nix:
    """Return `nix` if builder `nix` can use it; raise PermanentError otherwise.

    Start no process: for that see `Nix.require`.
    """
    if nix is None:
        raise PermanentError(
            "builder nix needs nix, which is not on PATH",
            "install nix (on Debian: apt-get install nix-bin), or use --builder plain",
        )
    if not config.nixpkgs:
        raise PermanentError(
            "builder nix needs nixpkgs, and HIVE_NIXPKGS is empty",
            "set HIVE_NIXPKGS to its flake URL, say github:NixOS/nixpkgs/nixos-24.11, or use --builder plain",
        )
    return nix


class NixBuilder:
    """The builder `nix`. `meta` is the meta repo, `applied` returns an agent's applied repo.

    `revision` is hive's own; it is recorded if the flake has no input for hive.
    """

    name = "nix"
    previews = True

    def __init__(
        self,
        layout: Layout,
        config: Config,
        nix: Nix,
        meta: GitRepo,
        applied: Callable[[AgentName], Applied],
        revision: str,
        *,
        on_log: OnLog | None = None,
    ) -> None:
        self._layout = layout
        self._config = config
        self._nix = nix
        self._meta = meta
        self._applied = applied
        self._revision = revision
        self._on_log = on_log
        self._isolated = config.isolation != "unsafe-none"
        self._roots = Roots(layout)
        self._links: dict[Path, str] = {}
        self._inputs = asyncio.Lock()

    # building
    async def build(self, request: BuildRequest) -> Generation:
        """Parse, evaluate, realise and root. Build a system again if it is damaged in the store."""
        await self.check(request.agent, request.sha)
        source = await self._source(request)
        derivation = await self._nix.derivation(source.evaluation, self._toplevel(request.agent), source.places)
        revision = flake_lock.revision(source.lock, "hyperhive") or self._revision
        nixpkgs, modules = flake_lock.revision(source.lock, "nixpkgs"), flake_lock.revision(source.lock, flake.MODULES)
        fingerprint = request.settings.fingerprint()
        id = _generation_id(request, str(derivation), fingerprint, revision)
        link = self._layout.generation(request.agent, id)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            system = await self._realise(request, derivation, link, source)
            os.utime(link, follow_symlinks=False)  # `prune` keeps those that were built last
            sync_folder(link.parent)
            generation = Generation(id, request.agent, request.sha, system, fingerprint, revision, nixpkgs, modules)
            self._roots.write(request.agent, request.id, generation)
        except OSError as error:
            raise disk_error(f"cannot root generation {id} of {request.agent}", error) from error
        return generation

    async def revision(self, head: Sha) -> str:
        """Return the revision of hive that `head` locks. If the flake has no input for hive, return hive's own."""
        return flake_lock.revision(await self._lock(head), "hyperhive") or self._revision

    async def nixpkgs(self, head: Sha) -> str:
        """Return the revision of nixpkgs that `head` locks."""
        return flake_lock.revision(await self._lock(head), "nixpkgs")

    async def modules(self, head: Sha) -> str:
        """Return the revision of the modules for every agent that `head` locks."""
        return flake_lock.revision(await self._lock(head), flake.MODULES)

    async def _lock(self, commit: Sha) -> bytes | None:
        try:
            return await self._meta.read(commit, flake_lock.LOCK_FILE)
        except NotFound:
            return None

    async def preview(self, request: BuildRequest) -> Preview:
        """Return what would be built, with a summary for the operator. Nothing is built.

        Raise the same errors as `build`.
        """
        source, shown = await self._shown(request)
        attribute = f"nixosConfigurations.{flake.nix_string(request.agent)}.config"
        text = await self._nix.evaluate(source.evaluation, attribute, source.places, apply=SUMMARISE)
        return Preview(shown, await asyncio.to_thread(summary.parse, text))

    async def shown(self, request: BuildRequest) -> Binding:
        """Return what an approval is bound to. Evaluate only the derivation."""
        return (await self._shown(request))[1]

    async def _shown(self, request: BuildRequest) -> tuple[_Source, Binding]:
        await self.check(request.agent, request.sha)
        source = await self._source(request)
        derivation = await self._nix.derivation(source.evaluation, self._toplevel(request.agent), source.places)
        return source, Binding(
            commit=request.sha,
            nixpkgs=flake_lock.revision(source.lock, "nixpkgs"),
            hive=flake_lock.revision(source.lock, "hyperhive"),
            derivation=str(derivation),
            settings=request.settings.fingerprint(),
            modules=flake_lock.revision(source.lock, flake.MODULES),
        )

    async def check(self, agent: AgentName, sha: Sha) -> None:
        """Raise BuildFailed for a mistake that shows without an evaluation."""
        files = await self._applied(agent).files(sha)
        await settings_of(files)
        file = files.get(NIX_FILE)
        if file is None or file.mode == LINK:
            what = "is a symlink" if file else "is missing"
            raise BuildFailed(f"{NIX_FILE} {what}", f"add a regular file {NIX_FILE} to the commit")
        await parse_nix(self._nix, file)

    async def _source(self, request: BuildRequest) -> _Source:
        agent = request.agent
        ref = candidate_ref(agent, request.id)
        if self._meta.ref(ref) != request.candidate:
            ref = MAIN  # a rebuild of what is deployed
        git = self._layout.meta_git
        lock = await self._lock(request.candidate)
        visible = (git, self._layout.applied_git(agent), *self._local(lock))
        evaluation = Evaluation(
            flake=flake.git_url(git, ref, request.candidate),
            visible=visible,
            home=self._home(agent) / "evaluate",
            deadline=self._config.evaluation_deadline,
            memory=self._config.evaluation_memory_mib * 2**20,
            isolated=self._isolated,
        )
        async with self._inputs:  # two nix in separate pid namespaces choose the same name for a temporary link
            await inputs.root(self._layout, self._nix, lock, isolated=self._isolated)
        places = complaints.places(lock or b"", flake.input_name(agent), self._nix.store)
        return _Source(evaluation, places, lock)

    def _local(self, lock: bytes | None) -> tuple[Path, ...]:
        """Return the shared inputs that are directories of this host. nix reads these even if its store has a copy."""
        return tuple(path for path in flake_lock.local_paths(lock) if path.exists())

    async def _realise(self, request: BuildRequest, derivation: Path, link: Path, source: _Source) -> Path:
        home, deadline = self._home(request.agent) / "build", self._config.build_deadline

        def on_line(line: str) -> None:
            if self._on_log is not None:
                self._on_log(request.agent, request.id, line)

        realise = partial(
            self._nix.realise,
            derivation,
            link,
            home,
            deadline,
            isolated=self._isolated,
            places=source.places,
            on_line=on_line,
        )
        system = await realise()
        if not await self._nix.is_whole(system, home):
            await realise(repair=True)
        return system

    def _toplevel(self, agent: AgentName) -> str:
        return f"nixosConfigurations.{flake.nix_string(agent)}.config.system.build.toplevel"

    def _home(self, agent: AgentName) -> Path:
        return self._layout.nix(agent)

    # what is there
    async def reuse(self, request: BuildRequest, target: ProposalId) -> bool:
        """Root the generation of `target` for `request` as well.

        Return False if it is gone, damaged in the store or for other settings.
        """
        generation = self.built(request.agent).get(target)
        if generation is None or generation.fingerprint != request.settings.fingerprint():
            return False
        if not await self._nix.is_whole(generation.system, self._home(request.agent) / "build"):
            return False
        self._roots.write(request.agent, request.id, replace(generation, sha=request.sha))
        return True

    async def intact(self, generation: Generation) -> bool:
        """Return True if the system exists. Its content is the store's, which is read-only: a build verifies it."""
        return self._exists(generation)

    def built(self, agent: AgentName) -> Mapping[ProposalId, Generation]:
        """Return the generation of each rooted id, if its gc root and its system exist.

        This costs two stats per generation.
        """
        roots = self._roots.read(agent)
        if all(self._exists(each) for each in roots.values()):
            return roots
        return MappingProxyType({id: each for id, each in roots.items() if self._exists(each)})

    def _exists(self, generation: Generation) -> bool:
        name = self._links.get(generation.system)
        if name is None:
            name = self._links[generation.system] = str(generation.system)
        try:
            os.stat(name)  # noqa: PTH116 - a pathlib object costs more than the call
            os.lstat(self._layout.generation(generation.agent, generation.id))
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

        A rooted generation stays. The host's garbage collection removes systems that are no longer rooted.
        """
        try:
            useless = frozenset(each.id for id, each in self._roots.read(agent).items() if id in ended - roots)
            self._roots.drop(agent, roots)
            protected = keep | {each.id for each in self._roots.read(agent).values()}
            await asyncio.to_thread(self._prune, agent, protected, useless - protected)
        except OSError as error:
            raise disk_error(f"cannot prune the generations of {agent}", error) from error
        self._links.clear()

    def _prune(self, agent: AgentName, protected: frozenset[GenerationId], useless: frozenset[GenerationId]) -> None:
        shutil.rmtree(self._home(agent) / "evaluate" / "cache", ignore_errors=True)
        folder = self._layout.generations(agent)
        if not folder.is_dir():
            return
        newest = sorted(folder.iterdir(), key=lambda path: (path.lstat().st_mtime_ns, path.name), reverse=True)
        useful = [path for path in newest if path.name not in useless]
        for path in [*useful[self._config.keep_generations :], *(path for path in newest if path.name in useless)]:
            if path.name not in protected and path.is_symlink():
                path.unlink()
        sync_folder(folder)

    async def forget(self, agent: AgentName) -> None:
        """Remove the agent's roots, gc roots and caches."""
        try:
            self._roots.forget(agent)
            await asyncio.to_thread(self._forget, agent)
        except OSError as error:
            raise disk_error(f"cannot remove the generations of {agent}", error) from error
        self._links.clear()

    def _forget(self, agent: AgentName) -> None:
        for folder in (self._layout.generations(agent), self._layout.roots(agent), self._home(agent)):
            if folder.is_dir():
                shutil.rmtree(folder)


def _generation_id(request: BuildRequest, derivation: str, fingerprint: str, revision: str) -> GenerationId:
    text = "\n".join((request.sha, derivation, fingerprint, revision))
    return GenerationId(hashlib.sha256(text.encode()).hexdigest()[:20])

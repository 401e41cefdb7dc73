"""Fetch one commit from a repo that hive does not trust.

The untrusted side is `git upload-pack`. It runs as the owner of the directory, or as nobody instead of the host's
root, in a sandbox that sees only that directory, read-only and without a network. hive's own side is `git fetch` into a
throw-away bare repo. The two are connected by pipes (git's fd transport: no path, no shell). So hive never opens the
repo, follows none of its configuration, hooks, alternates or links, and receives nothing that its owner could not read.
The daemon moves the bytes from one pipe to the other, and ends a fetch that brings nothing. The commit is checked in
quarantine before its objects go to the applied repo.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from meta.config import Config
from meta.errors import BadInput, HiveError, TransientError
from meta.git import packs
from meta.layout import Layout
from meta.names import Sha, commit_id, sha
from meta.process.child import OutputTooLarge
from meta.process.privilege import privilege
from meta.process.recorder import Recorder
from meta.process.run import Completed, ProcessTimeout, Streams, run
from meta.process.trial import is_sandbox_complaint, tried, tried_user_namespace
from meta.proposed.quarantine.foreign import ForeignRepo, inspect, limits, reader, refuse_links
from meta.proposed.quarantine.pipes import pipe, together
from meta.proposed.quarantine.relay import PATIENCE, Stalled, relay
from meta.proposed.quarantine.repo import Fetched, QuarantineRepo, explain, hand_over, too_large

__all__ = ["FetchRequest", "Fetched", "fetch", "hand_over"]


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """A request to fetch `commit` (7 to 40 hex digits; None: HEAD) from the work tree or bare repo `source`.

    If there is a `base`, the commit must descend from it and must not change flake.nix and flake.lock. `rebase` is the
    hint for a commit that does not descend from it.
    """

    source: Path
    applied_git: Path
    commit: str | None = None
    base: Sha | None = None
    rebase: str = "rebase onto applied/main, then propose again"


async def fetch(request: FetchRequest, layout: Layout, config: Config, recorder: Recorder | None = None) -> Fetched:
    """Fetch one commit, check it and hand it over to the applied repo as a staged pack, which the caller places or
    discards. The quarantine repo is always removed.

    Raise BadInput (not a repo, a corrupted one, the name of a branch), NotFound (repo or commit), Refused (a check
    failed, over a limit, does not descend from the base, no bubblewrap), TransientError (deadline, full disk).
    """
    wanted = commit_id(request.commit) if request.commit is not None else None
    refuse_links(request.source, layout.state)
    transfer = _Fetch(reader(inspect(request.source), layout.state), config, recorder)
    repo = QuarantineRepo.create(layout.quarantine, request.applied_git, config, recorder)
    try:
        with packs.reading(request.applied_git):  # the commit may be built on one whose proposal ends meanwhile
            commit = await transfer.resolve(wanted)
            await transfer.receive(repo, commit, wanted)
            fetched = await repo.check(commit, request.base, request.rebase)
            staged = await hand_over(
                repo.path, request.applied_git, commit, request.base, config.git_deadline, recorder
            )
        return replace(fetched, staged=staged)
    finally:
        repo.remove()


# the two sides
@dataclass(frozen=True, slots=True)
class _Fetch:
    """One fetch, with both of its ends."""

    source: ForeignRepo
    config: Config
    recorder: Recorder | None

    async def resolve(self, wanted: str | None) -> Sha:
        """Return the full id of the wanted commit (None: HEAD). A full id is returned without a look at the repo."""
        if wanted is not None and len(wanted) == 40:
            return Sha(wanted)
        where = f"--git-dir={self.source.git_dir}"
        spec = f"{wanted or 'HEAD'}^{{commit}}"
        argv = self.source.command([where, "rev-parse", "--verify", "--end-of-options", spec])
        try:
            done = await run(
                argv,
                deadline=min(PATIENCE, self.config.fetch_deadline),
                recorder=self.recorder,
                limits=self._limits(),
                streams=Streams(output_limit=4096),
                check=False,
            )
        except (ProcessTimeout, OutputTooLarge) as error:
            if isinstance(error, OutputTooLarge):
                raise self._output_error() from error
            short = self.config.fetch_deadline <= PATIENCE
            raise self._timeout_error() if short else self._stalled_error() from error
        if done.code != 0:
            await self._require_sandbox(done)
            raise explain(done.stderr_tail, wanted or "HEAD", self.source.path)
        try:
            commit = sha(done.text)
        except BadInput as error:
            raise self._output_error() from error
        if wanted is not None and not commit.startswith(wanted):
            raise BadInput(
                f"{wanted} is the name of a branch or tag in {self.source.path}", "give the full commit id (40 digits)"
            )
        return commit

    async def receive(self, repo: QuarantineRepo, commit: Sha, wanted: str | None) -> None:
        """Fetch exactly `commit` to FETCHED in the quarantine repo."""
        with contextlib.ExitStack() as near, contextlib.ExitStack() as far, contextlib.ExitStack() as middle:
            request_read, request_write = pipe(far, near)
            pack_read, relay_write = pipe(near, middle)
            relay_read, pack_write = pipe(middle, far)
            receiving = asyncio.ensure_future(
                repo.receive(commit, pack_read, request_write, self._limits(), near.close)
            )
            serving = asyncio.ensure_future(self._serve(request_read, pack_write, far.close))
            relaying = asyncio.ensure_future(self._relay(relay_read, relay_write, middle.close))
            try:
                await together(receiving, serving, relaying)
            except ProcessTimeout as error:
                raise self._timeout_error() from error
            except Stalled as error:
                raise self._stalled_error() from error
            done, served = receiving.result(), serving.result()
        if repo.overflowed():
            raise too_large(wanted or commit, self.config)
        if done.code != 0 or not repo.holds(commit):  # git refuses some commits with a warning only
            await self._require_sandbox(served)
            raise explain(f"{served.stderr_tail}\n{done.stderr_tail}", wanted or commit, self.source.path)

    async def _relay(self, source: int, sink: int, ended: Callable[[], object]) -> None:
        """Move the pack from upload-pack to `git fetch`; each sees the other one end."""
        try:
            await relay(source, sink, PATIENCE)
        finally:
            ended()

    async def _serve(self, source: int, sink: int, started: Callable[[], object]) -> Completed:
        return await serve(self.source, (source, sink), started, self.config, self.recorder)

    async def _require_sandbox(self, ended: Completed) -> None:
        """Raise Refused with the host's own fault if it was the sandbox that failed, and not git in it."""
        if ended.code != 0 and is_sandbox_complaint(ended.stderr_tail):
            changes_uid = self.source.uid and privilege().hands_out_uids
            await (tried() if changes_uid else tried_user_namespace())

    def _limits(self) -> dict[int, int]:
        return limits(self.config.fetch_deadline)

    def _timeout_error(self) -> HiveError:
        return TransientError(
            f"fetching from {self.source.path} took longer than {self.config.fetch_deadline:g} s",
            "is the repo very large? HIVE_FETCH_DEADLINE sets the limit",
        )

    def _stalled_error(self) -> HiveError:
        return TransientError(
            f"git kept hive waiting in {self.source.path}: it sent too little for {PATIENCE:g} s",
            "look at its .git/config and at the links in it, without running git there; then propose again",
        )

    def _output_error(self) -> HiveError:
        return BadInput(f"git gave no commit id for {self.source.path}", "see `git fsck` there")


async def serve(
    source: ForeignRepo,
    ends: tuple[int, int],
    started: Callable[[], object],
    config: Config,
    recorder: Recorder | None,
) -> Completed:
    """Run upload-pack as the owner of `source`, in the sandbox, with the pipes `ends` as its input and output."""
    words = ["upload-pack", "--strict", f"--timeout={math.ceil(config.fetch_deadline)}"]
    try:
        return await run(
            source.command([*words, str(source.git_dir)]),
            deadline=config.fetch_deadline,
            recorder=recorder,
            limits=limits(config.fetch_deadline),
            streams=Streams(stdio=ends, on_start=started),
            check=False,
        )
    finally:
        started()  # if it could not be started: the other side must see the end of the pipe, not wait for it

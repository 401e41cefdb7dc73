"""Fetch every ref of a repo that hive does not trust, into a repo of hive's own.

As in `fetch`, only `git upload-pack` opens that repo, in a sandbox that sees nothing else; none of its hooks runs, and
its configuration leads nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Callable, Iterable
from pathlib import Path

from meta.config import Config
from meta.errors import HiveError, TransientError
from meta.process.recorder import Recorder
from meta.process.run import Completed, ProcessTimeout, Streams, run
from meta.process.trial import is_sandbox_complaint, tried_user_namespace
from meta.proposed.quarantine.fetch import serve
from meta.proposed.quarantine.foreign import ForeignRepo, limits
from meta.proposed.quarantine.pipes import pipe, together
from meta.proposed.quarantine.relay import PATIENCE, Stalled, relay
from meta.proposed.quarantine.repo import GIT_ENVIRONMENT, RECEIVE, explain

PACK_BYTES = 2**30
"""Bytes of the pack, at most."""
_FETCH = (
    *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"),
    "--refmap=",
)


async def fetch_all(
    source: ForeignRepo,
    target: Path,
    prefix: str,
    config: Config,
    recorder: Recorder | None = None,
    without: Iterable[str] = (),
) -> None:
    """Fetch every ref of `source` into the bare repo `target`, as `prefix`/<its name without refs/>, in one pack.

    Those in `without` are left out.

    git verifies each object, and that none is missing. Raise what `explain` finds in its messages, TransientError after
    the deadline.
    """
    with contextlib.ExitStack() as near, contextlib.ExitStack() as far, contextlib.ExitStack() as middle:
        request_read, request_write = pipe(far, near)
        pack_read, relay_write = pipe(near, middle)
        relay_read, pack_write = pipe(middle, far)
        words = [*_FETCH, f"fd::{pack_read},{request_write}", f"+refs/*:{prefix}/*", *(f"^{ref}" for ref in without)]
        receiving = asyncio.ensure_future(
            _receive(target, words, (pack_read, request_write), near.close, config, recorder)
        )
        serving = asyncio.ensure_future(serve(source, (request_read, pack_write), far.close, config, recorder))
        relaying = asyncio.ensure_future(_relay(relay_read, relay_write, middle.close))
        try:
            await together(receiving, serving, relaying)
        except (ProcessTimeout, Stalled) as error:
            raise TransientError(
                f"fetching from {source.path} took too long", "HIVE_FETCH_DEADLINE sets the limit"
            ) from error
    done, served = receiving.result(), serving.result()
    if served.code != 0 and is_sandbox_complaint(served.stderr_tail):
        await tried_user_namespace()
    if done.code != 0 or served.code != 0:
        raise _complaint(served, done, source.path)


def _complaint(served: Completed, done: Completed, where: Path) -> HiveError:
    return explain(f"{served.stderr_tail}\n{done.stderr_tail}", "its refs", where)


async def _receive(
    target: Path,
    words: list[str],
    ends: tuple[int, int],
    started: Callable[[], object],
    config: Config,
    recorder: Recorder | None,
) -> Completed:
    options = [word for key, value in RECEIVE.items() for word in ("-c", f"{key}={value}")]
    return await run(
        ["git", f"--git-dir={target}", *options, *words],
        deadline=config.fetch_deadline,
        recorder=recorder,
        env=GIT_ENVIRONMENT,
        limits={**limits(config.fetch_deadline), resource.RLIMIT_FSIZE: PACK_BYTES},
        streams=Streams(pass_fds=ends, on_start=started, output_limit=2**20),
        check=False,
    )


async def _relay(source: int, sink: int, ended: Callable[[], object]) -> None:
    try:
        await relay(source, sink, PATIENCE)
    finally:
        ended()

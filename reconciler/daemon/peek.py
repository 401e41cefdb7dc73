"""The plan without a daemon: read from disk without the lock. Nothing is changed."""

from __future__ import annotations

import time
from functools import partial

from meta.applied.repo import Applied
from meta.config import Config
from meta.desired.repo import MetaRepo
from meta.errors import NotFound, Refused
from meta.layout import Layout
from meta.names import AgentName
from reconciler.common.tasks import Background
from reconciler.daemon import state_directory
from reconciler.daemon.choices import Choice, make_backend, make_builder
from reconciler.observe.build_logs import BuildLogs
from reconciler.observe.links import Links
from reconciler.observe.observer import Observer, Sources
from reconciler.plan.plan import plan
from reconciler.queries.plan import plan_row
from reconciler.views import PlanRow


async def peek(layout: Layout, config: Config, choice: Choice, only: AgentName | None = None) -> list[PlanRow]:
    """Return the plan of all agents, or of one. Raise NotFound.

    Only a daemon knows sockets and crash counters; here they count as they should be. Links show as missing.
    """
    if not layout.meta_git.is_dir():
        raise NotFound(f"there is no hive in {layout.state}", "start one with `hive serve`")
    meta, applied = MetaRepo(layout, config=config), partial(Applied, layout)
    links, owner = Links(_drop), state_directory.owner(layout.owner)
    backend = make_backend(choice, layout, config, owner=owner, links=links, background=Background())
    builder = make_builder(choice, layout, config, meta=meta, applied=applied, recorder=None, build_logs=BuildLogs())
    known = (await meta.read()).desired.agents
    if only is not None and only not in known:
        raise NotFound(f"there is no agent {only}", "without --plan AGENT all of them are shown")
    sockets = _Sockets(frozenset(known))
    observer = Observer(Sources(layout, meta, applied, backend, builder, links, sockets), since=time.time())
    await backend.open(_drop)
    try:
        desired = await observer.desired()
        observed, deploys = await observer.several(observer.names())
    finally:
        await backend.close()
    decisions = plan(desired, observed, deploys, time.time(), config).decisions
    return [plan_row(name, decision) for name, decision in decisions.items() if only in (None, name)]


def _drop(_agent: AgentName) -> None:
    """Ignore a hint, because there is only one look."""


class _Sockets:
    """Sockets for a look without a daemon. Only a daemon opens them, so missing ones need no repair."""

    def __init__(self, agents: frozenset[AgentName]) -> None:
        self._agents = agents

    def present(self, agent: AgentName) -> bool:
        return agent in self._agents

    async def open(self, agent: AgentName, uid: int | None, peers: int | None = None) -> None:
        raise Refused("no daemon runs", "start one with `hive serve`")

    async def close(self, agent: AgentName) -> None:
        raise Refused("no daemon runs", "start one with `hive serve`")

"""The way out's parts: what its policies are made of, and the process that the daemon starts for it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from meta.agent_toml.settings import SETTINGS_FILE
from meta.desired.repo import MetaRepo
from meta.errors import HiveError
from meta.names import AgentName
from reconciler.common.revision import revision
from reconciler.daemon.foundation import Surroundings
from reconciler.network.answers import Append
from reconciler.network.client import EgressClient
from reconciler.network.policies import Policies, Sources
from reconciler.network.process import EgressCommand, EgressProcess
from reconciler.network.way_out import WayOut
from reconciler.observe.commits import ContainerOf, RunningCommits
from reconciler.observe.repos import Repos
from reconciler.observe.roster import Roster
from reconciler.observe.settings import DeployedSettings
from reconciler.usage.budgets import Budgets


def make_way_out(
    here: Surroundings,
    meta: MetaRepo,
    repos: Repos,
    roster: Roster,
    observe: ContainerOf,
    budgets: Budgets,
    append: Append,
) -> WayOut:
    """Make the way out. It reads the settings of the commit that an agent runs with, also while that is deployed."""
    running = RunningCommits(roster, observe)
    settings = DeployedSettings(running.of, lambda agent, sha: repos(agent).read(sha, SETTINGS_FILE))

    def held(agent: AgentName) -> str:
        over = budgets.over.get(agent)
        return over.reason if over is not None else ""

    async def restarted(why: str) -> None:
        with contextlib.suppress(HiveError):  # the log has it too
            await append("way_out_restarted", None, {"reason": why})

    sources = Sources(
        refresh=meta.read,
        names=roster.names,
        settings=settings.of,
        grants=lambda agent: meta.known().run_of(agent).grants,
        held=held,
        operator=here.network,
        identity=roster.identity,
    )
    control = Path(here.config.egress_control or here.layout.egress_control)
    process = None
    if here.config.egress_start and here.choice.backend != "fake":  # its containers have nothing that goes out
        process = EgressProcess(EgressCommand.of(here.layout, here.config, control, revision()), restarted=restarted)
    return WayOut(EgressClient(control), Policies(sources), running, process)

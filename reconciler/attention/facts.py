"""The facts that the sources of the attention list read: what the other views have of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meta.model import Deploy
from meta.names import AgentName, ProposalId
from reconciler.plan.rollout import Rollout
from reconciler.store.messages.text import DeadLetterHead
from reconciler.store.network_requests import NetworkRequest
from reconciler.store.passkeys import Passkey
from reconciler.store.questions import Question
from reconciler.store.usage import Overrun
from reconciler.views import AgentStatus, Card, RefusedTip


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of the daemon. `key` names it among those of its kind; `since` is None if the time is unknown."""

    key: str
    text: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Alarms:
    """The alarms of the daemon: about its background tasks, meta, the disk, file descriptors, stale locks in meta,
    databases set aside, a missing manager, the watch on proposed repos, the way out, and the dashboard.
    """

    tasks: tuple[Alarm, ...] = ()
    meta: tuple[Alarm, ...] = ()
    disk: tuple[Alarm, ...] = ()
    descriptors: tuple[Alarm, ...] = ()
    locks: tuple[Alarm, ...] = ()
    set_aside: tuple[Alarm, ...] = ()
    no_manager: tuple[Alarm, ...] = ()
    watching: tuple[Alarm, ...] = ()
    way_out: tuple[Alarm, ...] = ()
    dashboard: tuple[Alarm, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one moment.

    `proposals` wait for the operator; those in `stale` must be rebased first. `failed` has the newest id of each agent
    for which that failed by itself. `questions` are open ones to the operator. `unread` is the number of unread
    messages to the operator, and the time of the oldest. `refused` are branches whose commit is no proposal. `errors`
    has the error of each agent whose steps fail again and again, `conditions` what else is known about agents' repos
    and files, `over_budget` the agents whose budget of the day is used up. `requests` are pending: for hosts. `copied`
    are passkeys whose counter went back.
    `rollout` is the last one if it failed.
    `unlisted` counts what was not read because a list has a limit.
    `now` is the moment. `origin` is that of the dashboard, "" without one.
    """

    agents: tuple[AgentStatus, ...] = ()
    errors: Mapping[AgentName, str] = field(default_factory=dict)
    conditions: Mapping[AgentName, tuple[str, ...]] = field(default_factory=dict)
    proposals: tuple[Card, ...] = ()
    stale: Mapping[AgentName, frozenset[ProposalId]] = field(default_factory=dict)
    failed: tuple[Deploy, ...] = ()
    questions: tuple[Question, ...] = ()
    dead_letters: tuple[DeadLetterHead, ...] = ()
    unread: tuple[int, float] = (0, 0.0)
    refused: tuple[RefusedTip, ...] = ()
    rollout: Rollout | None = None
    over_budget: Mapping[AgentName, Overrun] = field(default_factory=dict)
    requests: tuple[NetworkRequest, ...] = ()
    copied: tuple[Passkey, ...] = ()
    alarms: Alarms = Alarms()
    unlisted: int = 0
    now: float = 0.0
    origin: str = ""

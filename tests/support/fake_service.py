"""A service whose agents are only words, with real events, messages and links. Its calls are recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from meta.agent_toml.seed import Start
from meta.agent_toml.settings import AgentSettings, Budget
from meta.config import Config
from meta.consent import Consent
from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.layout import Layout
from meta.model import DeployKind
from meta.names import MANAGER, AgentName, ProposalId, Sha
from reconciler.access.access import Access
from reconciler.access.members import Members
from reconciler.access.passkeys import Passkeys
from reconciler.attention.notifier import NotifyResult
from reconciler.attention.row import Attention, Row, Severity, listed
from reconciler.common.tasks import Background
from reconciler.common.touch import RelyingParty
from reconciler.events.changes import Changes
from reconciler.events.feed import Events
from reconciler.messaging.broker import Broker
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.messaging.questions import Questions
from reconciler.messaging.reminders import Reminders
from reconciler.observe.drains import Drains
from reconciler.observe.holds import Holds
from reconciler.observe.links import Links
from reconciler.observe.live import Live
from reconciler.observe.releases import Releases
from reconciler.observe.sender import Sender
from reconciler.plan.rollout import Rollout
from reconciler.pods.client import PodClient
from reconciler.pods.reports import PodReports
from reconciler.pods.shutdowns import Shutdowns
from reconciler.queries.audit import AuditQuery
from reconciler.queries.digest import DigestQuery
from reconciler.queries.host import HostView
from reconciler.queries.usage import UsageQuery
from reconciler.service import Service
from reconciler.store.database import Database
from reconciler.store.live import LiveStore
from reconciler.telemetry.metrics import Metrics
from reconciler.upkeep.audit.verify import Heads, Report
from reconciler.upkeep.doctor.live import Examined
from reconciler.usage.budgets import Budgets
from reconciler.usage.records import TurnRecords
from reconciler.views import (
    AgentOutcome,
    AgentStatus,
    BuildLog,
    Card,
    Change,
    Diff,
    Digest,
    LogPart,
    LogRow,
    PlanRow,
    RefusedTip,
    Remains,
    SettingsText,
    Status,
)
from tests.support.fake_host import EXAMINED, MACHINE
from tests.support.fake_logins import FakeLogins
from tests.support.fake_network import FakeNetwork
from tests.support.fake_turns import FakeTurns

SHA = "1" * 40
SHOWN = "f00f00f00f00f00f00f0"
ALICE = AgentName("alice")


def NOW() -> float:
    """The time of these tests."""
    return 1_700_000_000.0


QUESTION_ROW = Row(
    "question:1", "question", Severity.NORMAL, ALICE, NOW(), "question 1", "why \\u001b", "hive questions 1"
)


class Part:
    """One part of a Service: each of its methods is one of the fake's, which a test may replace."""

    def __init__(self, fake: FakeService, **methods: str) -> None:
        self._fake = fake
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fake, self._methods[name])

    def __call__(self, *given: Any, **named: Any) -> Any:
        return getattr(self._fake, self._methods["call"])(*given, **named)


class FakeService:
    """The methods of the parts of a Service, on dictionaries. `calls` records who asked for what."""

    def __init__(self, layout: Layout, events: Events, broker: Broker) -> None:
        self.layout = layout
        self.events = events
        self.broker = broker
        self.background = Background()
        self.changes = Changes()
        self.live = Live(LiveStore(layout.live))
        self.holds = Holds(changed=lambda agent: self.links.send_hold(agent))
        self.links = Links(
            lambda agent: None, lambda agent: self.broker.interrupt(agent), holds=self.holds, live=self.live
        )
        self.drains = Drains(self.links)
        self.releases = Releases(
            self.links, lambda agent, launch, only: self.broker.release_turn(agent, launch, only), Sender()
        )
        self.shutdowns = Shutdowns(self.links, lambda agent, by: self.stop(agent, by), lambda _: False, Sender())
        self.names: list[AgentName] = [ALICE, MANAGER]
        self.rows: dict[AgentName, PlanRow] = {}
        self.built: dict[int, tuple[str, ...]] = {}
        self.remains: list[Remains] = []
        self.audit = AuditQuery(self.report, NOW)
        self.audit_report = Report((), (), Heads("u", 3, "h", "m", {}), 3)
        self.tips: list[RefusedTip] = []
        self.waits: dict[AgentName, str] = {}
        self.shown: dict[int, Card] = {}
        self.diffs: dict[int, Diff] = {}
        self.attention_rows: list[Row] = [QUESTION_ROW]
        self.texts: dict[str | None, SettingsText] = {}
        self.calls: list[tuple[object, ...]] = []
        self.asked = asyncio.Event()
        self.examined = EXAMINED
        self.machine = MACHINE
        self.network = FakeNetwork(self.known, self.record)
        self.turns = FakeTurns(self.known, self.record)
        self.logins = FakeLogins(self.known, self.record)

    def attach(self, database: Database, states: Path) -> None:
        """The real questions, reminders and loose ends on `database`; /state of each agent is below `states`."""

        async def check(_sender: str, to: str) -> None:
            if to != "operator":
                self.known(AgentName(to))

        self.database = database
        database.on_change(self.changes.note)

        async def wanted() -> frozenset[str]:
            return frozenset({"turn_ended"})

        self.pod_reports = PodReports(self.links, database, wanted, self.broker.wake_receivers, Sender())
        self.questions = Questions(
            database,
            check=check,
            known=lambda name: name in self.names,
            wake=self.broker.wake_receivers,
            clock=NOW,
        )
        self.reminders = Reminders(
            database,
            known=lambda name: name in self.names,
            state=lambda name: states / name,
            wake=self.broker.wake_receivers,
            clock=NOW,
        )
        self.deployed = AgentSettings(budget=Budget(turns=2, dollars=1.5))
        settings = SimpleNamespace(of=self._deployed)
        self.budgets = Budgets(database, settings.of, self.agents, Holds(), clock=NOW)
        self.turn_records = TurnRecords(database, Metrics().turns, self.budgets.judge, clock=NOW)
        self.usage = UsageQuery(self.turn_records, self.budgets, settings, NOW)  # type: ignore[arg-type]
        dashboard = Config.model_validate({"dashboard_port": 8420})
        self.access = Access(database, dashboard, Members(self.layout.http_socket), clock=NOW)
        self.ends = LooseEnds(self.questions, self.reminders, self.pending, clock=NOW)
        self.passkeys = Passkeys(database, RelyingParty("http://localhost:8420", "localhost"), clock=NOW)

    async def _deployed(self, _agent: AgentName) -> AgentSettings:
        return self.deployed

    def parts(self) -> Service:
        """The service that `api` gets."""

        def part(**methods: str) -> Any:
            return Part(self, **methods)

        return Service(
            names=self.agents,
            revision="rev1",
            status=part(call="status", attention="attention", once="status_once"),
            plan=part(call="plan"),
            cards=part(pending="pending", list="cards", get="card", of="card_of"),
            diffs=part(proposal="diff", change="change", build_log="build_log"),
            digest=part(call="digest"),
            logs=part(deploys="log", last="logs", after="logs_after"),
            metrics=part(call="metrics"),
            usage=self.usage,
            network=cast("Any", self.network),
            remains=part(call="destroyed"),
            audit=self.audit,
            grants=cast("Any", self.network),
            proposals=part(
                propose="propose", approve="approve", deny="deny", cancel="cancel", retry="retry", find="found"
            ),
            discovery=part(refused="refused", waiting="waiting"),
            settings=part(text="settings", propose="propose_settings"),
            rebase=part(call="rebase"),
            turns=cast("Any", self.turns),
            swarm=part(stop="stop_all", start="start_all", down="down"),
            agents=part(
                start="start", stop="stop", restart="restart", rebuild="rebuild", destroy="destroy", adopt="adopt"
            ),
            logins=cast("Any", self.logins),
            spawns=part(begin="spawn", request="request_spawn"),
            declared=part(),
            rollback=part(call="rollback"),
            updates=part(begin="rebuild_all"),
            backup=part(),
            loop=part(settled="settled", sweep="sweep", look_now="look_now", reread="reread"),
            broker=self.broker,
            questions=self.questions,
            reminders=self.reminders,
            loose_ends=self.ends,
            turn_records=self.turn_records,
            budgets=self.budgets,
            events=self.events,
            changes=self.changes,
            links=self.links,
            live=self.live,
            releases=self.releases,
            shutdowns=self.shutdowns,
            pod_reports=self.pod_reports,
            pods=PodClient(self.layout.pods),
            background=self.background,
            notifier=part(test="test_notify"),
            host=part(call="host"),
            doctor=part(last="examined", examine="examine"),
            disk=part(borrow="borrow", take_back="take_back"),
            locks=part(),
            way_out=part(),
            answers=part(),
            access=self.access,
            passkeys=self.passkeys,
        )

    def report(self) -> Report:
        return self.audit_report

    def record(self, call: tuple[object, ...]) -> None:
        self.calls.append(call)
        self.asked.set()

    def known(self, agent: AgentName) -> None:
        if agent not in self.names:
            raise NotFound(f"there is no agent {agent}", "see `hive list`")

    def add(self, agent: AgentName = ALICE, kind: DeployKind = DeployKind.APPLY_COMMIT, **changes: object) -> Card:
        id = ProposalId(max(self.shown, default=0) + 1)
        sha = None if kind is DeployKind.SPAWN else SHA
        card = Card(id, agent, kind, sha or "", sha, 1_700_000_000, "pending", "proposal", proposed_by="manager")
        self.shown[id] = replace(card, **changes)  # type: ignore[arg-type]
        return self.shown[id]

    def move(self, id: int, status: str, state: str, note: str | None = None) -> Card:
        self.shown[id] = replace(self.shown[id], status=status, state=state, note=note, resolved_at=1_700_000_100)
        return self.shown[id]

    def agents(self) -> list[AgentName]:
        return sorted(self.names)

    def refused(self, agent: AgentName) -> list[RefusedTip]:
        return [tip for tip in self.tips if tip.agent == agent]

    async def pending(self) -> list[Card]:
        return [card for card in self.shown.values() if card.status == "pending"]

    async def cards(self, agent: AgentName | None = None, limit: int = 50) -> list[Card]:
        return [card for card in reversed(self.shown.values()) if agent in (None, card.agent)][:limit]

    async def card(self, id: ProposalId, agent: AgentName | None = None) -> Card:
        if id == 0 and agent is None:
            raise BadInput("each agent's first spawn has the id 0 (alice, manager)", "name the agent: `--agent NAME`")
        if id == 0 and agent is not None:
            self.known(agent)
            return Card(id, agent, DeployKind.SPAWN, "", None, 1_700_000_000, "failed", "failed", note="no luck\nlog")
        if id not in self.shown:
            raise NotFound(f"there is no proposal {id}", "see `hive pending`")
        return self.shown[id]

    async def card_of(self, card: Card) -> Card:
        """The commands below return cards in place of deploys."""
        return card

    async def spawn(self, name: AgentName, by: str, start: Start | None = None) -> Card:
        if name in self.names:
            raise Conflict(f"an agent named {name} already exists", "choose another name")
        self.record(("spawn", name, by) if start is None else ("spawn", name, by, start.runtime, start.model))
        self.names.append(name)
        return self.add(name, DeployKind.SPAWN, status="approved", state="approved")

    async def request_spawn(self, name: AgentName, by: str, description: str = "") -> Card:
        self.record(("request_spawn", name, by, description))
        return self.add(name, DeployKind.SPAWN, description=description)

    async def propose(
        self,
        agent: AgentName,
        by: str,
        commit: str | None = None,
        description: str = "",
        source: Path | None = None,
    ) -> Card:
        self.known(agent)
        if commit == "main":
            raise BadInput("'main' is no commit id", "hive takes commits, not branches or tags")
        self.record(("propose", agent, by, commit, description, source))
        return self.add(agent, description=description)

    async def approve(
        self,
        id: ProposalId,
        by: str,
        seen: str | None = None,
        agent: AgentName | None = None,
        shown: str | None = None,
        *,
        unseen: bool = False,
        consent: Consent | None = None,
    ) -> Card:
        card = await self.card(id, agent)
        if card.status != "pending":
            raise Conflict(f"proposal {id} is {card.status} already", f"see `hive diff {id}`")
        if seen is not None and not SHA.startswith(seen):
            raise Refused(f"proposal {id} is {SHA[:12]}, not {seen}", f"look again with `hive diff {id}`")
        if shown is not None and shown != SHOWN:
            raise Refused(f"proposal {id} changed since it was shown", f"look again with `hive diff {id}`")
        self.record(("approve", id, by, seen))
        return self.move(id, "approved", "approved")

    async def found(self, id: ProposalId, agent: AgentName | None = None) -> SimpleNamespace:
        card = await self.card(id, agent)
        return SimpleNamespace(agent=card.agent, id=card.id, sha=card.fetched_sha or "")

    async def deny(self, id: ProposalId, by: str, reason: str = "", agent: AgentName | None = None) -> Card:
        await self.card(id, agent)
        self.record(("deny", id, by, reason))
        return self.move(id, "denied", "denied", reason)

    async def cancel(self, id: ProposalId, by: str, reason: str = "", agent: AgentName | None = None) -> Card:
        card = await self.card(id, agent)
        if id == 0:
            self.record(("cancel", id, by, reason, agent))
            return card
        self.record(("cancel", id, by, reason))
        return self.move(id, "failed", "failed", reason)

    def waiting(self, agent: AgentName) -> str | None:
        return self.waits.get(agent)

    async def rebase(self, id: ProposalId, by: str, agent: AgentName | None = None) -> Any:
        self.record(("rebase", id, by))
        return SimpleNamespace(deploy=await self.card(id, agent), merges=2)

    async def retry(self, id: ProposalId, by: str, agent: AgentName | None = None) -> Card:
        self.record(("retry", id, by))
        return await self.card(id, agent)

    async def start(self, agent: AgentName, by: str) -> None:
        self.known(agent)
        self.record(("start", agent, by))

    async def stop(self, agent: AgentName, by: str, now: bool = False) -> None:
        self.known(agent)
        self.record(("stop", agent, by, now))

    async def stop_all(self, by: str, now: bool = False) -> list[AgentOutcome]:
        self.record(("stop_all", by, now))
        return [AgentOutcome(ALICE, "stop"), AgentOutcome(MANAGER, reason="it is stopped already")]

    async def digest(self, since: float, agent: AgentName | None, details: int) -> Digest:
        return await DigestQuery(self.events, NOW)(since, agent, details)

    async def down(self, by: str, now: bool = False) -> list[AgentOutcome]:
        self.record(("down", by, now))
        return [AgentOutcome(ALICE, error="it does not end", remedy="see the log")]

    async def start_all(self, by: str) -> list[AgentOutcome]:
        self.record(("start_all", by))
        return [AgentOutcome(ALICE, "start"), AgentOutcome(MANAGER, error="it is damaged", remedy="mend it")]

    async def restart(self, agent: AgentName, by: str, now: bool = False) -> None:
        self.known(agent)
        self.record(("restart", agent, by, now))

    async def rebuild(self, agent: AgentName, by: str, now: bool = False) -> None:
        self.known(agent)
        self.record(("rebuild", agent, by, now))

    async def rebuild_all(self, by: str, *, now: bool, only_outdated: bool) -> Rollout:
        self.record(("rebuild_all", by, now, only_outdated))
        return Rollout("r1", by, 1, "r", tuple(self.names), now=now)

    async def rollback(self, agent: AgentName, by: str, to: ProposalId | None = None) -> Card:
        self.known(agent)
        self.record(("rollback", agent, by, to))
        return self.add(agent, DeployKind.ROLLBACK, status="approved", state="approved")

    async def destroy(self, agent: AgentName, by: str, purge: bool = False) -> None:
        if agent == MANAGER:
            raise Refused("the manager cannot be destroyed", "stop it, or destroy other agents")
        self.known(agent)
        self.record(("destroy", agent, by, purge))
        self.names.remove(agent)

    async def adopt(self, agent: AgentName, by: str, running: bool) -> None:
        self.record(("adopt", agent, by, running))

    async def reread(self, agent: AgentName | None) -> None:
        pass

    async def sweep(self) -> None:
        self.record(("reconcile", None))

    def look_now(self, agent: AgentName) -> None:
        self.record(("reconcile", agent))

    async def settled(self, agent: AgentName | None, seconds: float) -> bool:
        return all(row.idle for row in await self.plan(agent))

    async def plan(self, agent: AgentName | None = None, *, or_last: bool = False, again: bool = True) -> list[PlanRow]:
        if agent is not None:
            self.known(agent)
        idle = {name: PlanRow(name, "running", "none", "as desired") for name in self.agents()}
        return [row for name, row in {**idle, **self.rows}.items() if agent in (None, name)]

    async def status(self) -> Status:
        agents = tuple(
            AgentStatus(
                name, "agent", "running", 1.7e9, "idle", "running", "a" * 20, SHA, ProposalId(0), None, (), 7, 0, 0
            )
            for name in self.agents()
        )
        where = (str(self.layout.state), str(self.layout.runtime))
        return Status("0.1", "fake", "plain", *where, "2" * 40, "none", "none", "one", ("a note",), agents)

    def status_once(self) -> Any:
        return Part(self, call="status", attention="attention")

    async def host(self) -> HostView:
        return self.machine

    async def examine(self, wait: float) -> Examined:
        self.record(("examine", wait))
        return replace(self.examined, running=wait == 0)

    async def attention(self) -> Attention:
        return listed(self.attention_rows)

    async def test_notify(self) -> NotifyResult:
        return NotifyResult(True, "https://ntfy.example/[...]", "HTTP 200", "thanks", 0.25)

    async def diff(
        self, id: ProposalId, agent: AgentName | None = None, path: str | None = None, context: int = 3
    ) -> Diff:
        card = await self.card(id, agent)
        if id in self.diffs:
            return self.diffs[id]
        patch = "--- a/agent.toml\n+++ b/agent.toml\n-model = 1\n+model = 2 \x1b]0;owned\x07\n"
        settings = (("model", "1", "2"),)
        commits = ("1111111 more",)
        diff = Diff(id, card.agent, "0" * 40, Sha(SHA), "more", commits, settings, ("agent.toml",), patch)
        return replace(diff, words=("model: 1 -> 2",))

    async def destroyed(self) -> list[Remains]:
        return self.remains

    async def build_log(self, id: ProposalId, agent: AgentName | None = None) -> BuildLog:
        card = await self.card(id, agent)
        return BuildLog(id, card.agent, self.built.get(id, ()))

    async def log(self, limit: int = 50) -> list[LogRow]:
        row = LogRow("3" * 40, 1_700_000_000, "deploy", "alice", ProposalId(1), SHA, "a" * 20, "hive", "deploy 1")
        return [row][:limit]

    async def logs(self, agent: AgentName, lines: int = 50) -> str:
        self.known(agent)
        return f"{lines} lines of {agent}\n"

    async def logs_after(
        self, agent: AgentName, cursor: str | None, lines: int, since: float | None, seconds: float = 0.0
    ) -> LogPart:
        self.known(agent)
        self.record(("logs_after", agent, cursor, lines, since))
        if cursor is None:
            return LogPart("first\n", "7-6")
        if cursor == "7-6":
            return LogPart("second \x1b[2J\n", "7-13")
        raise NotFound(f"there is no agent {agent}", "see `hive list`")

    async def change(
        self,
        agent: AgentName,
        first: str | None = None,
        last: str | None = None,
        path: str | None = None,
        context: int = 3,
    ) -> Change:
        self.known(agent)
        self.record(("change", agent, first, last))
        return Change(agent, "0" * 40, SHA, ("more",), (("model", "1", "2"),), ("agent.toml",), "-a\n+b\n")

    async def settings(self, agent: AgentName, at: str | None = None) -> SettingsText:
        self.known(agent)
        return self.texts.get(at, SettingsText(agent, "0" * 40, SHA, 'label = "old"\n'))

    async def propose_settings(
        self,
        agent: AgentName,
        by: str,
        text: str,
        description: str = "",
        base: str | None = None,
        replaces: ProposalId | None = None,
    ) -> Card:
        self.known(agent)
        if "refuse" in text:
            raise Conflict(f"{agent} has another commit by now", "edit again")
        self.record(("propose_settings", agent, by, text, description, base))
        return self.add(agent, description=description)

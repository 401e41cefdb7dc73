"""A hive in the middle of a working day, for the pictures of its dashboard. All of it comes from real operations.

alice takes a turn of the real claude CLI (the model is a stand-in), bob drains for a deploy, carol has a proposal that
waits. docs used up its budget, nightly is stopped, release failed, triage needs a login, spike was destroyed, and a
deploy of the manager failed. Without the claude CLI the turns are those of the scripted runtime.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from meta.names import AgentName
from tests.screenshots import words
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab, fresh_lab
from tests.support.own_ca import ca_file, server_context
from tests.support.real_agents import CLAUDE, newest_prompt, state_is
from tests.support.site import Site, dashboard_settings

MODELS = "models.example"
AGENTS = ("alice", "bob", "carol", "docs", "nightly", "release", "triage", "spike")
NODE = Path(__file__).parents[2] / "build/codex/node_modules/.bin"
LONG = 90.0
"""Seconds that a step may take on two busy cores."""
HAS_CLAUDE = os.access(CLAUDE, os.X_OK)
SETTINGS = {
    "HIVE_EGRESS_START": "true",
    "HIVE_HEALTH_DEADLINE": "20",
    "HIVE_RECONNECT_GRACE": "5",
    "HIVE_STOP_GRACE": "5",
    "HIVE_DRAIN_DEADLINE": "1380",
    "HIVE_CRASH_LIMIT": "3",
    "SSL_CERT_FILE": str(ca_file()),
    "PATH": f"{CLAUDE.parent}:{NODE}:{os.environ['PATH']}",
}


@dataclass(frozen=True, slots=True)
class Orchard:
    """The dashboard, the id of bob's deploy that waits for his turn, and that of carol's proposal."""

    site: Site
    deploy: int
    proposal: int


@contextlib.contextmanager
def orchard() -> Iterator[Orchard]:
    """Yield the dashboard of that hive once everything has happened."""
    with (
        FakeMessages() as model,
        fresh_lab("orchard", {**SETTINGS, **dashboard_settings()}, tiny=False) as lab,
    ):
        day = Day(lab, model)
        day.open_way_out()
        day.begin()
        day.have_trouble()
        day.work()
        yield Orchard(Site(lab), *day.decide())


class Day:
    """What happens in the hive. The methods are called once, in their order."""

    def __init__(self, lab: Lab, model: FakeMessages) -> None:
        self._lab = lab
        self._model = model

    def open_way_out(self) -> None:
        """Give the hive the key for the stand-in of the model, and two hosts that answer."""
        port = self._model.listen_tls(server_context(MODELS))
        key = self._lab.layout.state / "model-key"
        key.write_text("sk-ant-api03-only-outside\n", encoding="ascii")
        key.chmod(0o600)
        file = self._lab.layout.state / "network.toml"
        file.write_text(words.NETWORK.format(models=MODELS, port=port, key=key), encoding="utf-8")
        file.chmod(0o600)
        os.utime(file, (0, 0))  # one that was written a moment ago is not obeyed yet

    def begin(self) -> None:
        """Spawn everybody, and give each the settings that it works with."""
        for name in AGENTS:
            self._lab.post(f"/api/agents/{name}/spawn", **words.SPAWNED.get(name, {}))
        for name in AGENTS:
            self._lab.settle(name)
        for name, versions in words.VERSIONS.items():
            for title, files in versions:
                self._approve(self._propose(name, title, files))
        self._lab.do("nightly", "stop")

    def have_trouble(self) -> None:
        """Let agents fail in every way that the pages show."""
        lab = self._lab
        lab.do("spike", "destroy")
        self._say("manager", "release", words.POISON)
        lab.until(lambda: lab.get("/api/dead-letters") or None, LONG)
        self._say("manager", "docs", "Write the page about imports.")
        state_is(lab, "docs", "over-budget", LONG)
        for body in words.FOR_DOCS:
            self._say("manager", "docs", body)
        for body in words.FOR_TRIAGE:
            self._say("manager", "triage", body)
        self._crash("release")
        self._approve(self._propose("manager", *words.BROKEN))
        denied = self._propose("carol", *words.DENIED)
        lab.post(f"/api/proposals/{denied}/deny", reason=words.REASON)

    def work(self) -> None:
        """Let the agents that have a model take turns, write to each other, and ask."""
        lab = self._lab
        for name, files in words.WORK_TREES.items():
            self._put(name, files)
        for text, steps in words.TURNS.items():
            self._model.when(text, *steps)
        for sender, to, body in words.MESSAGES:
            self._say(sender, to, body)
        if HAS_CLAUDE:
            lab.until(lambda: lab.get("/api/network/requests") or None, LONG)
        answered = lab.ask("bob", **words.ANSWERED)["id"]
        lab.post(f"/api/questions/{answered}/answer", answer="The nightly one")
        lab.ask("alice", **words.QUESTION)
        lab.ask("bob", **words.QUESTION_OF_MANY)
        lab.ask("alice", **words.REMINDER)
        for sender, body in words.FOR_OPERATOR:
            self._say(sender, "operator", body)

    def decide(self) -> tuple[int, int]:
        """Begin the turns that are still going on in the pictures, a deploy that waits for one, and a proposal.

        Return the id of bob's deploy and that of carol's proposal.
        """
        lab = self._lab
        for name in ("alice", "bob"):  # a message during a turn would become a part of that one
            lab.until(partial(self._rests, name), LONG)
        self._say("manager", "alice", words.LONG_TURN)
        self._say("manager", "bob", words.OTHER_TURN)
        if HAS_CLAUDE:
            for text in (words.LONG_TURN, words.OTHER_TURN):
                lab.until(partial(self._began, text), LONG)
        draining = self._propose("bob", *words.NEXT)
        lab.post(f"/api/proposals/{draining}/approve")
        pending = self._propose("carol", *words.PENDING)
        self._propose("release", *words.SMALL)
        if HAS_CLAUDE:
            lab.until(lambda: lab.agent("bob")["phase"] == "draining" or None, LONG)
        return draining, pending

    def _rests(self, name: str) -> bool:
        """Return True once the agent has read everything and is between two turns."""
        row = self._lab.agent(name)
        return bool(row["turn"] == "idle" and not row["unread"])

    def _began(self, text: str) -> bool:
        """Return True once the model was asked in the turn that a message with this text began."""
        calls = self._model.calls("main")
        return any(text in json.dumps(newest_prompt(call["body"]), ensure_ascii=False) for call in calls)

    def _propose(self, name: str, title: str, files: dict[str, str]) -> int:
        """Commit these files on top of what runs, propose them, and return the id."""
        lab = self._lab
        clone = lab.directory / "w" / name
        if not clone.exists():
            clone.parent.mkdir(exist_ok=True)
            lab.git(lab.directory, "clone", "-q", "-b", "main", str(lab.applied(name)), str(clone))
        lab.git(clone, "fetch", "-q", "origin")
        lab.git(clone, "reset", "-q", "--hard", "origin/main")
        for path, text in files.items():
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            (clone / path).write_text(text, encoding="utf-8")
        lab.git(clone, "add", "-A")
        lab.git(clone, "commit", "-q", "-m", title)
        return int(lab.post("/api/proposals", agent=name, source=str(clone))["id"])

    def _say(self, sender: str, to: str, body: str) -> None:
        """Send a message as an agent."""
        answer = self._lab.ask(sender, cmd="send", to=to, body=body)
        assert answer == {"kind": "ok"}, answer

    def _approve(self, id: int) -> dict[str, Any]:
        return self._lab.approve(id)

    def _crash(self, name: str) -> None:
        """Kill the agent's process until hive gives it up."""
        lab, killed = self._lab, set[int]()

        def failed() -> bool:
            row = lab.agent(name)
            if row["phase"] == "running" and row["pid"] not in killed:
                killed.add(int(row["pid"]))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(row["pid"]), signal.SIGKILL)
            return bool(row["phase"] == "failed")

        lab.until(lambda: failed() or None, LONG)

    def _put(self, name: str, files: dict[str, str]) -> None:
        """Put files into the agent's /state, as it would have written them."""
        state = self._lab.layout.agent_state(AgentName(name))
        owner = state.stat()
        for path, text in files.items():
            file = state / path
            for folder in [*reversed(file.relative_to(state).parents)][1:]:
                (state / folder).mkdir(exist_ok=True)
                os.chown(state / folder, owner.st_uid, owner.st_gid)
            file.write_text(text, encoding="utf-8")
            os.chown(file, owner.st_uid, owner.st_gid)

"""Rules of the script runtime, done by the real program with real git."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meta.agent_toml.seed import files
from meta.model import Role
from meta.names import AgentName
from meta.wire.agent import AckTurn, Answer, Ask, Recv, Remind, RequeueInflight, Status
from meta.wire.codec import encode
from meta.wire.common import InSeconds
from meta.wire.events import QuestionAsked

if TYPE_CHECKING:
    from tests.harness.conftest import FakeHive, Harness


def git(tree: Path, *words: str) -> str:
    """What git says."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    return subprocess.run(
        ["git", "-C", tree, *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def tree(harness: Harness) -> Path:
    """Bob's proposed work tree, and a harness that is the manager."""
    harness.role = "manager"
    harness.configure(files(AgentName("manager"), Role.MANAGER)["agent.toml"].decode())
    tree = harness.agents / "bob" / "config"
    tree.mkdir(parents=True)
    git(tree, "init", "--quiet", "--initial-branch=main")
    (tree / "agent.toml").write_text('label = "bob"\n', encoding="utf-8")
    git(tree, "add", ".")
    git(tree, "commit", "--quiet", "-m", "seed")
    return tree


async def ask(hive: FakeHive, body: str) -> str:
    """The answer to one message of the operator's."""
    before, acks = len(hive.sent), hive.acks
    await hive.post("operator", body)
    await hive.until(lambda: hive.acks > acks)
    assert [to for to, _ in hive.sent[before:]] == ["operator"]
    return hive.sent[-1][1]


async def test_the_first_rule_that_matches_the_whole_message_and_sender_is_done(
    harness: Harness, hive: FakeHive
) -> None:
    harness.configure(
        """
        [[script]]
        when = "hi"
        from = "bob|carol"
        reply = "hi {sender}, I am {self}"
        [[script]]
        when = "h(?P<rest>.*)"
        reply = "rest={rest}"
        [[script]]
        when = "relay (?P<to>[a-z]+) (?P<what>.+)"
        send = { to = "{to}", body = "{what}" }
        """
    )
    await harness.start()
    for sender, body in (("bob", "hi"), ("bobby", "hi"), ("dave", "relay carol a b"), ("dave", "say hi"), ("x", "h")):
        await hive.post(sender, body)
    await hive.until(lambda: hive.acks == 5)
    assert hive.sent == [("bob", "hi bob, I am alice"), ("bobby", "rest=i"), ("carol", "a b"), ("x", "rest=")]


async def test_an_agent_writes_only_to_its_recipients(harness: Harness, hive: FakeHive) -> None:
    harness.configure('recipients = ["operator"]\n[[script]]\nsend = { to = "{body}", body = "x" }\n')
    await harness.start()
    assert await ask(hive, "carol") == "failed: alice may not write to carol"
    await hive.post("bob", "carol")
    await hive.until(lambda: hive.acks == 2)
    assert len(hive.sent) == 1


async def test_a_refusal_by_hive_is_told_to_the_sender(harness: Harness, hive: FakeHive) -> None:
    hive.refuse["carol"] = "no agent carol"
    harness.configure('[[script]]\nsend = { to = "carol", body = "x" }\nreply = "done"\n')
    await harness.start()
    assert await ask(hive, "go") == "failed: no agent carol"


async def test_the_manager_and_oneself_need_not_be_on_the_list(harness: Harness, hive: FakeHive) -> None:
    harness.configure('recipients = []\n[[script]]\nsend = { to = "{body}", body = "x" }\n')
    await harness.start()
    for to in ("manager", "alice"):
        await hive.post("bob", to)
    await hive.until(lambda: hive.acks == 2)
    assert hive.sent == [("manager", "x"), ("alice", "x")]


async def test_an_agent_asks_answers_and_reminds_itself(harness: Harness, hive: FakeHive) -> None:
    harness.configure(
        """
        [[script]]
        from = "system"
        when = '.*"question":"tabs\\?".*'
        answer = "spaces, {self} says"
        [[script]]
        when = "ask (?P<who>[a-z]+)"
        ask = { to = "{who}", question = "tabs?", options = ["{who}", "no"], multi = true }
        remind = { message = "{who} was asked", seconds = 5 }
        """
    )
    await harness.start()
    await hive.post("operator", "ask bob")
    question = QuestionAsked(id=12, asker="bob", question="tabs?")
    await hive.post("system", encode(question).decode())
    await hive.until(lambda: hive.acks == 2)
    assert [call for call in hive.calls if not isinstance(call, Recv | AckTurn | RequeueInflight | Status)] == [
        Ask(question="tabs?", options=("bob", "no"), multi=True, to="bob"),
        Remind(message="bob was asked", timing=InSeconds(seconds=5)),
        Answer(id=12, answer="spaces, alice says"),
    ]


@pytest.mark.parametrize(
    ("sender", "body"),
    [
        ("operator", "what?"),
        ("bob", '{"event":"question_asked","id":1,"asker":"bob","question":"?"}'),
        ("system", '{"event":"killed","agent":"bob"}'),
        ("system", "what?"),
    ],
)
async def test_only_what_hive_says_is_a_question_is_answered(
    harness: Harness, hive: FakeHive, sender: str, body: str
) -> None:
    harness.configure('[[script]]\nanswer = "yes"\n')
    await harness.start()
    await hive.post(sender, body)
    await hive.until(lambda: hive.acks == 1)
    assert not [call for call in hive.calls if isinstance(call, Answer)]
    assert [to for to, text in hive.sent if text.startswith("failed: ")] == [sender]


async def test_an_agent_asks_only_its_recipients(harness: Harness, hive: FakeHive) -> None:
    harness.configure('recipients = ["operator"]\n[[script]]\nask = { to = "carol", question = "?" }\n')
    await harness.start()
    assert await ask(hive, "go") == "failed: alice may not write to carol"
    assert not [call for call in hive.calls if isinstance(call, Ask)]


@pytest.mark.parametrize(("crash", "code"), [("true", -signal.SIGKILL), ("9", 9), ("0", 0)])
async def test_a_crash_is_a_real_one(harness: Harness, hive: FakeHive, crash: str, code: int) -> None:
    harness.configure(f'[[script]]\nwhen = "die"\nreply = "bye"\ncrash = {crash}\n')
    await hive.post("operator", "die")
    await harness.start()
    assert await harness.ended() == code
    assert hive.sent == [("operator", "bye")]
    assert hive.acks == 0


async def test_the_manager_edits_and_proposes(harness: Harness, hive: FakeHive, tree: Path) -> None:
    await harness.start()
    (tree / "other").write_text("not asked for", encoding="utf-8")
    answer = await ask(hive, 'edit bob notes/agent.toml\nlabel = "Bob"\n\nx = "{y}"')
    head = git(tree, "rev-parse", "HEAD")
    assert answer == f"committed {head}"
    assert git(tree, "show", "HEAD:notes/agent.toml") == 'label = "Bob"\n\nx = "{y}"'
    assert git(tree, "show", "--format=%an %ae %cn %s", "--name-only") == (
        "manager manager@hive.invalid manager edit notes/agent.toml\n\nnotes/agent.toml"
    )
    assert git(tree, "status", "--porcelain") == "?? other"

    assert await ask(hive, "propose bob a better label") == f"asked for approval of {head}"
    assert [(ask.agent, ask.commit_ref, ask.description) for ask in hive.proposed] == [("bob", head, "a better label")]
    await ask(hive, "propose bob")
    assert hive.proposed[1].description is None
    assert await ask(hive, "ping") == "pong"


async def test_a_commit_that_is_asked_for_wrongly_says_why(harness: Harness, hive: FakeHive, tree: Path) -> None:
    (tree / "out").symlink_to("/etc")
    (tree / "link").symlink_to("agent.toml")
    await harness.start()
    head = git(tree, "rev-parse", "HEAD")
    assert "already has this content" in await ask(hive, 'edit bob agent.toml\nlabel = "bob"')
    assert "carol has no proposed work tree" in await ask(hive, "edit carol agent.toml\nx")
    assert "is no agent name" in await ask(hive, "edit ../../x agent.toml\nx")
    for file in ("../x", "/etc/x", ".git/config", ".GIT/config", "out/x", "link", ".", "a/../../x"):
        assert "is no file in the work tree" in await ask(hive, f"edit bob {file}\nx"), file
    assert git(tree, "rev-parse", "HEAD") == head
    assert git(tree, "status", "--porcelain", "--untracked-files=no") == ""


async def test_hooks_in_the_work_tree_are_not_run(harness: Harness, hive: FakeHive, tree: Path) -> None:
    hook = tree / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    await harness.start()
    assert (await ask(hive, "edit bob a\nx")).startswith("committed ")


async def test_only_the_manager_may_propose(harness: Harness, hive: FakeHive, tree: Path) -> None:
    harness.role = "agent"
    await harness.start()
    assert "only the manager may" in await ask(hive, "propose bob x")
    assert hive.proposed == []

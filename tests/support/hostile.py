"""A hive of the fake service whose agents write nothing but markup, in every text that is theirs."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from meta.model import DeployKind
from meta.wire.common import InSeconds
from meta.wire.link import Hello
from reconciler.attention.registry import KINDS
from reconciler.attention.row import Row, Severity
from reconciler.observe.live import LiveLine
from reconciler.views import RefusedTip
from tests.support.fake_service import ALICE, NOW, FakeService
from tests.support.live_lines import call, delta, result, text, turn_end, turn_start

HOSTILE = (
    "<script>evil()</script>\"><img src=x onerror=evil()><hive-evil data-evil='1'></details></div></td></textarea>"
    "<hx-partial hx-target='#nav'>x</hx-partial>' onmouseover=evil() a='{{7*7}}{% raw %}\u202egnp\u0007"
    "javascript:evil() \r\revent: over\rdata: evil\r\r"
)
TAME = "b" * len(HOSTILE)
_OWN = {
    *("agent", "name", "kind", "id", "key", "status", "state", "phase", "role", "turn", "desired", "step", "action"),
    *("generation", "sha", "commit", "commit_ref", "fetched_sha", "deployed", "base", "meta_head", "at", "built_with"),
    *("backend", "builder", "runtime", "consent", "check", "verdict", "severity", "command", "link", "decided_by"),
    *("declared", "dashboard"),
}
"""Fields whose strings are hive's own, or of a form that hive checks before it takes them."""


def spoiled(value: Any, text: str) -> Any:
    """Return a value in which each free text is `text`: strings of fields that are not hive's own."""
    if isinstance(value, str):
        return value if isinstance(value, Enum) else text
    if isinstance(value, tuple | list):
        return type(value)(spoiled(each, text) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {
            field.name: spoiled(getattr(value, field.name), text)
            for field in fields(value)
            if field.init and field.name not in _OWN
        }
        return replace(value, **changes)
    return value


async def spoil(fake: FakeService, text: str) -> None:
    """Put `text` wherever an agent, a pusher or a browser writes."""
    await _messages(fake, text)
    await _live(fake, text)
    _proposals(fake, text)
    fake.attention_rows = [
        Row(f"{kind.name}:{_key(kind.name)}", kind.name, Severity.NORMAL, ALICE, NOW(), text, text, "hive status")
        for kind in KINDS
    ]
    fake.machine, fake.examined = spoiled(fake.machine, text), spoiled(fake.examined, text)
    views = ("status", "log", "plan", "change", "settings", "logs", "diff")
    for part, name in (*((fake, name) for name in views), (fake.turns, "model")):
        setattr(part, name, _spoiling(getattr(part, name), text))
    for event, data in (
        ("proposal_denied", {"id": 1, "by": text, "note": text}),
        ("agent_unhealthy", {"reason": text, "by": text}),
        ("tip_refused", {"branch": text, "reason": text, "by": text}),
    ):
        await fake.events.append(event, ALICE, data)
    await fake.access.open_session(os.getuid(), text, "link", text)


def _spoiling(ask: Callable[..., Awaitable[Any]], text: str) -> Callable[..., Awaitable[Any]]:
    async def asked(*given: Any, **named: Any) -> Any:
        return spoiled(await ask(*given, **named), text)

    return asked


def _key(kind: str) -> str:
    return "alice:1" if kind == "proposal" else "1" if kind in ("question", "dead-letter") else "alice"


async def _messages(fake: FakeService, text: str) -> None:
    await fake.broker.send("alice", "operator", text)
    await fake.broker.send("manager", "alice", text)
    await fake.questions.ask("alice", text, (text, "no"), False, None, None)
    await fake.questions.ask("alice", text, (text, "no"), True, 3600, None)
    await fake.reminders.remind("alice", text, InSeconds(seconds=60), None)


async def _live(fake: FakeService, words: str) -> None:
    hello: dict[str, Any] = {"generation": "g", "nonce": "n", "log": "log1", "last": 0}
    fake.live.begin(ALICE, Hello.model_validate(hello))
    events = (
        turn_start(1, words, words),
        text(words),
        call("a", words, command=words),
        result("a", words, failed=True),
        call("b", "Edit", file_path=words, old_string="a", new_string=words),
        result("b", words, failed=False),
        {"kind": "note", "text": words},
        {"kind": words},
        turn_end(1, ok=False, note=words),
        turn_start(2, words, words),
        delta(words),
    )
    for number, event in enumerate(events, 1):
        await fake.live.take(ALICE, LiveLine(number, 1_700_000_000 + number, event, json.dumps(event)))


def _proposals(fake: FakeService, text: str) -> None:
    for state, note in (("proposal", None), ("building", None), ("failed", text), ("deployed", None)):
        card = fake.add(kind=DeployKind.APPLY_COMMIT, description=text, proposed_by=text, branch=text, approved_by=text)
        if state != "proposal":
            fake.move(card.id, "failed" if state == "failed" else "approved", state, note)
        fake.built[card.id] = (text, text)
    fake.tips = [RefusedTip(ALICE, text, text, "1" * 40, text, text, text)]

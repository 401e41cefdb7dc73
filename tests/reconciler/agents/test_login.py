"""What hive passes on of a login: cleaned text, a marked address, and the code to no place but the harness."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from meta.errors import Conflict, TransientError
from meta.names import AgentName
from meta.wire.link import About, Control, Done, Verb
from reconciler.agents.login import Logins, is_known

ALICE = AgentName("alice")
ADDRESS = "https://claude.ai/oauth/authorize?z-1"


class Harness:
    """A harness that answers with `text`, and keeps what it was asked."""

    def __init__(self, text: str, ok: bool = True) -> None:
        self.text, self.ok = text, ok
        self.asked: list[tuple[Verb, str]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.silent = False
        """Whether a login begins without an answer."""

    async def control(self, agent: AgentName, verb: Verb, text: str = "", seconds: float = 30.0) -> Done:
        self.asked.append((verb, text))
        await self.free.wait()
        if self.silent and verb is Verb.LOGIN:
            raise TransientError("its harness did not answer")
        return Done(id="1", ok=self.ok, text=self.text)


class Hive:
    """The commands over a harness."""

    def __init__(self, text: str, ok: bool = True) -> None:
        self.harness = Harness(text, ok)
        self.events: list[tuple[Any, ...]] = []

        async def append(*event: Any) -> None:
            self.events.append(event)

        async def entry(agent: AgentName) -> None:
            assert agent == ALICE

        self.about: About | None = None
        links = SimpleNamespace(view=lambda _: SimpleNamespace(about=self.about))
        world: Any = SimpleNamespace(events=SimpleNamespace(append=append), links=links)
        deploys: Any = SimpleNamespace(entry=entry)
        self.logins = Logins(world, deploys, self.harness)


async def test_the_address_is_the_first_line_and_the_rest_is_for_the_operator() -> None:
    hive = Hive(f"{ADDRESS}\nEnter \x1b[31mthis\x1b[0m\n\n ABCD-1 ")
    result = await hive.logins.start(ALICE, "operator uid 0")
    assert (result.state, result.address, result.known) == ("address", ADDRESS, True)
    assert result.text == "Enter this\nABCD-1"
    assert hive.events == [("login_requested", ALICE, {"what": "login", "by": "operator uid 0"})]


@pytest.mark.parametrize("again", [False, True])
async def test_an_agent_with_a_key_outside_begins_no_login(again: bool) -> None:
    hive = Hive(ADDRESS)
    hive.about = About(runtime="claude", key="anthropic")
    with pytest.raises(Conflict, match="with a key outside, of kind anthropic: it needs no login"):
        await hive.logins.start(ALICE, "op", again=again)
    assert hive.harness.asked == []
    hive.about = About(runtime="claude")
    assert (await hive.logins.start(ALICE, "op", again=again)).address == ADDRESS


@pytest.mark.parametrize(
    "text", ["", "no address", "http://claude.ai/x", "https://claude.ai/a b", "javascript:alert(1)"]
)
async def test_an_answer_without_an_address_is_an_error(text: str) -> None:
    with pytest.raises(Conflict, match="printed no address"):
        await Hive(text).logins.start(ALICE, "op")


@pytest.mark.parametrize(
    ("address", "known"),
    [
        (ADDRESS, True),
        ("https://auth.openai.com/codex/device", True),
        ("https://claude.com/cai/oauth/authorize?code=true&scope=org%3Acreate+user%3Aprofile", True),
        ("https://platform.claude.com/oauth/authorize?z=1", True),
        ("https://evil.example\\.claude.ai/oauth/authorize", False),
        ("https://evil.example\\@claude.ai/oauth/authorize", False),
        ("https://evil.example;.claude.ai/oauth/authorize", False),
        ("https://claude.ai\\oauth/authorize", False),
        ("https:claude.ai/oauth/authorize", False),
        ("http://claude.ai/oauth/authorize", False),
        ("javascript://claude.ai/oauth/authorize", False),
        ("https://claude.ai:443/oauth/authorize", False),
        ("https://claude.ai./oauth/authorize", False),
        ("https://cl\u0430ude.ai/oauth/authorize", False),
        ("https://xn--clude-9ve.ai/oauth/authorize", False),
        ("https://claude.ai/oauth/authorize\n", False),
        ("https://claude.ai/oauth/authorize?\u0661", False),
        ("https://claude.ai/oauth/../public/artifacts/1", False),
        ("https://claude.ai/oauth/%2e%2e/public/artifacts/1", False),
        ("https://claude.ai/public/artifacts/1", False),
        ("https://pages.claude.ai/oauth/authorize", False),
        ("https://sites.google.com/oauth/authorize", False),
        ("https://claude.ai/oauth/authorize#z-1", False),
        ("https://claude.ai.evil.example/oauth/authorize", False),
        ("https://claude.ai@evil.example/oauth/authorize", False),
        ("https://notclaude.ai/oauth/authorize", False),
        ("https://[/", False),
    ],
)
def test_only_the_login_pages_of_known_providers_are_known(address: str, known: bool) -> None:
    assert is_known(address) is known


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        ("logged in", "done", "alice is logged in, says its CLI"),
        ("pending", "pending", "the login is not done yet"),
        ("again: copy\nall \x1b[2J", "again", "copy all"),
    ],
)
async def test_what_came_of_a_code(answer: str, state: str, text: str) -> None:
    hive = Hive(answer)
    result = await hive.logins.code(ALICE, "c0de#s", "op")
    assert (result.state, result.text) == (state, text)
    assert hive.harness.asked == [(Verb.LOGIN_CODE, "c0de#s")]
    assert hive.events == []


async def test_another_answer_to_a_code_is_an_error() -> None:
    with pytest.raises(Conflict, match="answers as no login does"):
        await Hive("sure!").logins.code(ALICE, "x", "op")


async def test_a_login_that_failed_is_an_error_without_the_code(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(Conflict) as error:
        await Hive("the login failed: c0de#s is not valid", ok=False).logins.code(ALICE, "c0de#s", "op")
    assert str(error.value) == "alice: the login failed: [code] is not valid"
    assert "c0de" not in caplog.text


async def test_a_logout_is_in_the_events() -> None:
    hive = Hive("logged out")
    assert (await hive.logins.logout(ALICE, "op")).state == "logged-out"
    assert hive.events[0][2] == {"what": "logout", "by": "op"}


def test_the_code_is_not_in_the_text_of_its_line_or_input() -> None:
    from api.operations.login import LoginCodeInput

    assert "c0de" not in repr(Control(id="1", verb=Verb.LOGIN_CODE, text="c0de"))
    assert "c0de" not in repr(LoginCodeInput(agent=ALICE, code="c0de"))


async def test_the_code_of_a_login_that_another_one_replaced_is_not_passed_on() -> None:
    hive = Hive(ADDRESS)
    first = await hive.logins.start(ALICE, "ann")
    second = await hive.logins.start(ALICE, "bob", again=True)
    assert [verb for verb, _ in hive.harness.asked] == [Verb.LOGIN, Verb.LOGIN_CANCEL, Verb.LOGIN]
    hive.harness.text = "pending"
    with pytest.raises(Conflict, match="another login of alice took the place"):
        await hive.logins.code(ALICE, "c0de", "ann", first.login or "")
    assert "goes on" in (await hive.logins.cancel(ALICE, "ann", first.login or "")).text
    assert len(hive.harness.asked) == 3
    for login in (second.login or "", ""):
        assert (await hive.logins.code(ALICE, "c0de", "bob", login)).state == "pending"


async def test_the_code_of_a_login_does_not_reach_a_later_one_whose_begin_was_not_answered() -> None:
    hive = Hive(ADDRESS)
    first = await hive.logins.start(ALICE, "ann")
    hive.harness.silent = True
    with pytest.raises(TransientError):
        await hive.logins.start(ALICE, "bob", again=True)
    with pytest.raises(Conflict, match="another login of alice took the place"):
        await hive.logins.code(ALICE, "c0de", "ann", first.login or "")
    assert Verb.LOGIN_CODE not in [verb for verb, _ in hive.harness.asked]


async def test_a_login_goes_on_if_another_one_is_refused_because_of_it() -> None:
    hive = Hive(ADDRESS)
    first = await hive.logins.start(ALICE, "ann")
    hive.harness.ok = False
    with pytest.raises(Conflict):
        await hive.logins.start(ALICE, "bob")
    hive.harness.ok, hive.harness.text = True, "pending"
    assert (await hive.logins.code(ALICE, "c0de", "ann", first.login or "")).state == "pending"


async def test_a_login_is_cancelled_before_its_address_came_by_the_name_that_its_caller_gave_it() -> None:
    hive = Hive(ADDRESS)
    hive.harness.free.clear()
    begins = asyncio.create_task(hive.logins.start(ALICE, "ann", login="l1"))
    await asyncio.sleep(0)
    assert "goes on" in (await hive.logins.cancel(ALICE, "bob", "l2")).text
    cancels = asyncio.create_task(hive.logins.cancel(ALICE, "ann", "l1"))
    await asyncio.sleep(0)
    assert [verb for verb, _ in hive.harness.asked] == [Verb.LOGIN, Verb.LOGIN_CANCEL]
    hive.harness.free.set()
    assert ((await begins).login, (await cancels).state) == ("l1", "cancelled")


async def test_a_login_does_not_wait_behind_a_code_that_is_judged_and_a_code_waits_for_the_address() -> None:
    hive = Hive("pending")
    hive.harness.free.clear()
    judged = asyncio.create_task(hive.logins.code(ALICE, "c0de", "ann"))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="a login of alice is under way") as refused:
        await hive.logins.start(ALICE, "bob")
    assert refused.value.hint == "`hive login alice --again` takes its place"
    waits = asyncio.create_task(hive.logins.code(ALICE, "c0de", "ann"))
    await asyncio.sleep(0)
    assert len(hive.harness.asked) == 1
    hive.harness.free.set()
    assert {(await judged).state, (await waits).state} == {"pending"}


async def test_a_login_of_before_a_start_of_the_daemon_goes_on() -> None:
    assert (await Hive("pending").logins.code(ALICE, "c0de", "ann", "0123")).state == "pending"


async def test_the_refusal_of_a_harness_names_the_agent() -> None:
    refusal = Hive("a login is under way since 3 min; `hive login AGENT --again` takes its place", ok=False)
    with pytest.raises(Conflict, match="hive login alice --again"):
        await refusal.logins.start(ALICE, "ann")

"""What operators ask of a harness over its link, its answers, and what it says about itself."""

from __future__ import annotations

import asyncio

import pytest

from meta.errors import Conflict, TransientError
from meta.names import AgentName
from meta.wire.link import UP, About, Control, Done, DownLine, Hello, State, TurnState, Verb, WorkspaceState
from reconciler.observe.controls import MOST
from reconciler.observe.links import Links

ALICE = AgentName("alice")


class Harness:
    """A connected peer that answers each control with what `answers` has for its verb."""

    def __init__(self, links: Links, **answers: Done | None) -> None:
        self.links = links
        self.answers = answers
        self.controls: list[Control] = []
        self.asked = asyncio.Event()
        links.connected(ALICE, self)
        links.hello(ALICE, self, Hello(generation="g", nonce="n"))

    async def send(self, line: DownLine) -> None:
        if isinstance(line, Control):
            self.controls.append(line)
            self.asked.set()
            answer = self.answers.get(line.verb)
            if answer is not None:
                self.links.done(ALICE, self, answer.model_copy(update={"id": line.id}))


async def test_a_control_returns_the_answer_with_its_id_and_no_other() -> None:
    links = Links(lambda _: None)
    harness = Harness(links, model=Done(id="-", ok=True, text="the next turn has opus"))
    done = await links.control(ALICE, Verb.MODEL, "opus", 5)
    assert (done.ok, done.text) == (True, "the next turn has opus")
    assert [(each.verb, each.text) for each in harness.controls] == [(Verb.MODEL, "opus")]
    asking = asyncio.create_task(links.control(ALICE, Verb.CANCEL, seconds=5))
    harness.asked.clear()
    await harness.asked.wait()
    links.done(ALICE, harness, Done(id=done.id, ok=False, text="late"))
    links.done(ALICE, harness, Done(id=harness.controls[-1].id, ok=False, text="there is no turn"))
    assert (await asking).text == "there is no turn"
    await links.close()


async def test_an_agent_without_a_harness_cannot_be_asked() -> None:
    links = Links(lambda _: None)
    with pytest.raises(Conflict) as caught:
        await links.control(ALICE, Verb.COMPACT)
    assert caught.value.summary == "no harness of alice is connected"
    assert "`hive start alice`" in caught.value.hint


async def test_a_harness_that_never_named_its_runtime_is_said_to_be_old_when_it_does_not_answer() -> None:
    links = Links(lambda _: None)
    harness = Harness(links)
    with pytest.raises(TransientError, match="may be of an older hive"):
        await links.control(ALICE, Verb.CANCEL, seconds=0.01)
    links.about(ALICE, harness, About(runtime="claude"))
    with pytest.raises(TransientError) as caught:
        await links.control(ALICE, Verb.CANCEL, seconds=0.01)
    assert caught.value.summary == "the harness of alice did not answer `cancel` within 0.01 s"
    await links.close()


async def test_a_link_that_breaks_ends_the_wait_at_once_without_the_secret_in_the_error() -> None:
    links = Links(lambda _: None)
    harness = Harness(links)
    asking = asyncio.create_task(links.control(ALICE, Verb.LOGIN_CODE, "s3cret", 60))
    await harness.asked.wait()
    assert "s3cret" not in repr(harness.controls[0])
    links.lost(ALICE, harness)
    with pytest.raises(TransientError, match="broke before it answered") as caught:
        await asking
    assert "s3cret" not in caught.value.describe()
    await links.close()


async def test_only_some_requests_wait_at_one_time() -> None:
    links = Links(lambda _: None)
    harness = Harness(links)
    asking = [asyncio.create_task(links.control(ALICE, Verb.CANCEL, seconds=60)) for _ in range(MOST)]
    while len(harness.controls) < MOST:
        harness.asked.clear()
        await harness.asked.wait()
    with pytest.raises(Conflict, match="wait already"):
        await links.control(ALICE, Verb.CANCEL)
    for control in harness.controls:
        links.done(ALICE, harness, Done(id=control.id, ok=True))
    assert all(done.ok for done in await asyncio.gather(*asking))
    await links.close()


async def test_the_repos_of_an_agent_become_lines_too() -> None:
    links = Links(lambda _: None)
    repo = WorkspaceState(path="code", state="failed", text="no\nhost\x1b[31m")
    links.about(ALICE, Harness(links), About(runtime="claude", workspaces=(repo,)))
    about = links.view(ALICE).about
    assert about is not None
    assert about.workspaces == (WorkspaceState(path="code", state="failed", text="no host"),)
    await links.close()


async def test_what_a_harness_says_about_itself_is_kept_as_lines_until_another_launch() -> None:
    links = Links(lambda _: None)
    harness = Harness(links)
    links.about(ALICE, harness, About(runtime="claude", program="2.1\n\x1b[31m", model="opus", problem="a\nb"))
    about = links.view(ALICE).about
    assert about == About(runtime="claude", program="2.1", model="opus", problem="a b")
    links.lost(ALICE, harness)
    Harness(links)
    assert links.view(ALICE).about == about
    links.reset(ALICE)
    assert links.view(ALICE).about is None
    await links.close()


async def test_a_state_keeps_since_when_it_is_while_it_is_said_again() -> None:
    now = 100.0
    links = Links(lambda _: None, clock=lambda: now)
    harness = Harness(links)
    links.state(ALICE, harness, State(state=TurnState.PARKED, until=900.0, reason="the limit\nof today"))
    now = 150.0
    links.state(ALICE, harness, State(state=TurnState.PARKED, probe=1, until=900.0, reason="the limit\nof today"))
    view = links.view(ALICE)
    assert (view.state_since, view.until, view.reason) == (100.0, 900.0, "the limit of today")
    links.state(ALICE, harness, State(state=TurnState.IDLE, since=1e10))
    view = links.view(ALICE)
    assert (view.state_since, view.until, view.reason) == (150.0, None, "")
    await links.close()


async def test_a_state_that_this_hive_does_not_know_is_unknown_and_between_turns() -> None:
    links = Links(lambda _: None)
    harness = Harness(links)
    state = UP.validate_json('{"up":"state","state":"dreaming"}')
    assert isinstance(state, State)
    links.state(ALICE, harness, state)
    assert links.view(ALICE).turn is TurnState.UNKNOWN
    assert links.view(ALICE).turn_since is None
    await links.close()

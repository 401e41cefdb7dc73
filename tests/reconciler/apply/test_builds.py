"""What a preview that cannot be built leaves behind: a complaint, and whether it is tried again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from meta.approval import Binding
from meta.config import Config
from meta.errors import BuildFailed, PermanentError, Refused
from meta.model import Desired, TagState
from meta.names import AgentName, ProposalId, Sha
from meta.nix.summary import FORM, Summary
from reconciler.apply import builds as builds_module
from reconciler.apply.builds import TRIES, BuildSteps
from reconciler.builders.base import BuildRequest, Preview
from reconciler.observe.previews import Previewed
from reconciler.world import World
from tests.support.plan_model import deploy, entry, generation, sha

ALICE, ONE = AgentName("alice"), ProposalId(7)
SHOWN = Binding(Sha("1" * 40), "", "", "", "s")
SLOW = BuildFailed("the evaluation did not end within 120 s", "look for a list without end", bound=True)


@dataclass
class Kept:
    """The previews of one agent, and a world around them whose clock stands at 1,000."""

    known: dict[ProposalId, Previewed] = field(default_factory=dict)

    def of(self, _agent: AgentName) -> dict[ProposalId, Previewed]:
        return self.known

    def refused(self, error: PermanentError, revision: str = "today") -> Previewed:
        config = Config(retry_backoff_max=60.0)
        world = SimpleNamespace(previews=self, config=config, clock=lambda: 1000.0)
        builds = BuildSteps(cast("World", world), cast("Any", None))
        refused = builds._refused(deploy(7, TagState.PROPOSAL), SHOWN, error, revision)
        self.known[ONE] = replace(refused, revision=revision)
        return self.known[ONE]


def test_what_is_wrong_with_the_commit_stays_as_it_is() -> None:
    for error in (BuildFailed("a mistake", "mend it", "the log"), Refused("no")):
        assert Kept().refused(error).again_at is None


def test_what_ended_at_a_limit_is_tried_again_each_time_after_a_longer_wait() -> None:
    kept = Kept()
    waits = [kept.refused(SLOW).again_at for _ in range(TRIES)]
    assert waits == [1060.0, 1120.0, 1240.0, 1480.0, None]


def test_on_other_shared_inputs_the_tries_are_counted_anew() -> None:
    kept = Kept()
    assert [kept.refused(SLOW).tries for _ in range(2)] == [1, 2]
    assert kept.refused(SLOW, "tomorrow").tries == 1


def test_the_card_says_when_it_is_tried_again_and_how_to_ask_for_it() -> None:
    kept = Kept()
    assert (kept.refused(SLOW).complaint or "").splitlines() == [
        "the evaluation did not end within 120 s",
        "look for a list without end",
        "tried once; it is tried again in 60 s, and at once by `hive retry 7`",
    ]
    last = [kept.refused(SLOW).complaint or "" for _ in range(TRIES)][-1]
    assert last.splitlines()[-1].endswith("it is not tried again by itself; `hive retry 7` does")


@pytest.mark.parametrize(
    ("built", "evaluated"),
    [("a", []), ("b", [ONE]), ("", [])],
    ids=["as it was approved", "rebuilt since on another nixpkgs", "by an older hive, which did not note it"],
)
async def test_a_proposal_is_compared_with_what_runs_on_the_inputs_that_it_runs_on(
    built: str, evaluated: list[ProposalId]
) -> None:
    requests: list[ProposalId] = []

    async def read() -> SimpleNamespace:
        return SimpleNamespace(desired=Desired(sha(1), {ALICE: entry(7)}), sources={ALICE: {ONE: sha(2)}})

    async def preview(request: BuildRequest) -> Preview:
        assert request.candidate == sha(2), "the commit that gave what runs"
        requests.append(request.id)
        return Preview(SHOWN, Summary())

    kept = Kept({ONE: Previewed(replace(SHOWN, nixpkgs="a"), summary=Summary(form=FORM))})
    builder = SimpleNamespace(built=lambda _: {ONE: replace(generation(7), nixpkgs=built)}, preview=preview)
    world = SimpleNamespace(previews=kept, meta=SimpleNamespace(read=read))
    builds = BuildSteps(cast("World", world), cast("Any", builder))
    assert await builds._pinned(ALICE) is not None
    assert requests == evaluated


async def test_summaries_are_compared_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def compare_there(_old: Summary | None, _new: Summary) -> tuple[str, ...]:
        threads.append(threading.get_ident())
        return ("+ open port tcp/80",)

    async def read() -> SimpleNamespace:
        candidate = SimpleNamespace(entry=entry(7), commit=sha(2))
        return SimpleNamespace(desired=Desired(sha(1), {}), candidates={ALICE: {ONE: candidate}})

    async def preview(_request: BuildRequest) -> Preview:
        return Preview(SHOWN, Summary())

    monkeypatch.setattr(builds_module, "compare", compare_there)
    world = SimpleNamespace(previews=Kept(), meta=SimpleNamespace(read=read), config=Config())
    builds = BuildSteps(cast("World", world), cast("Any", SimpleNamespace(preview=preview)))
    previewed = await builds._evaluate(deploy(7, TagState.PROPOSAL), "today")
    assert previewed.lines == ("+ open port tcp/80",)
    assert threads
    assert threading.get_ident() not in threads

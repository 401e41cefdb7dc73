"""What the operator allows, takes back and denies, and what agents ask for, over a whole daemon without hive-egress."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from meta.agent_toml.settings import SETTINGS_FILE
from meta.desired.reader import RUN
from meta.errors import BadInput, Conflict, NotFound, Occupied, Refused, TransientError
from meta.names import OPERATOR, AgentName, Sha
from reconciler.agents.network import Grants
from reconciler.network.answers import Answers
from reconciler.network.operator import OperatorSettings
from reconciler.network.requests import Requests
from tests.support.fake_way_out import FakeWayOut

if TYPE_CHECKING:
    from reconciler.daemon.daemon import Daemon

ALICE = AgentName("alice")
BY = "operator uid 1000"
NOW = 1_800_000_000.0


class Way:
    """The commands over a daemon, with a clock of their own, and a new memory after each `restart`."""

    def __init__(self, daemon: Daemon, ceiling: str = "") -> None:
        self.daemon = daemon
        self.now = NOW
        daemon_world = daemon.world
        network = OperatorSettings(daemon_world.layout.network_file, ceiling)
        self.world = replace(daemon_world, network=network, clock=lambda: self.now)
        self.way_out = FakeWayOut.of(daemon, lambda: self.now)
        self.restart()

    def restart(self) -> None:
        """What a new daemon on the same state directory has."""
        world, service = self.world, self.daemon.service
        self.requests = Requests(self.daemon._parts.database, known=lambda name: name == ALICE, clock=lambda: self.now)
        self.answers = Answers(
            world.events.append,
            self.way_out,
            self.requests,
            names=lambda: [ALICE],
            grants=lambda agent: world.observer.known().run_of(agent).grants,
            ceiling=world.network.ceiling,
            clock=lambda: self.now,
        )
        deploys, settings = service.turns._deploys, service.network.settings
        self.grants = Grants(world, deploys, settings, service.settings, self.way_out, self.requests, self.answers)

    async def mail(self) -> list[str]:
        """What the operator's side wrote to alice."""
        messages = await self.daemon.service.broker.recent(ALICE, 50)
        return [message.body for message in messages if message.sender == OPERATOR]

    async def events(self, *kinds: str) -> list[tuple[str, dict[str, object]]]:
        seen = await self.daemon.service.events.since(None)
        return [(event.kind, event.data) for event in seen if event.kind.startswith("network") and event.kind in kinds]


@pytest.fixture
def way(daemon: Daemon) -> Way:
    return Way(daemon)


async def edit(daemon: Daemon, text: str) -> None:
    """Deploy another agent.toml of alice."""
    deploy = await daemon.service.settings.propose(ALICE, BY, text)
    await daemon.service.proposals.approve(deploy.id, BY, None)
    assert await daemon.service.loop.settled(ALICE, 30)


async def test_a_grant_is_live_before_its_request_is_answered(way: Way) -> None:
    request = await way.grants.request(ALICE, "Crates.IO.", 443, "to\nbuild it")
    assert (request.host, request.rule, request.why) == ("crates.io", "crates.io:443", "to build it")
    seen: list[object] = []
    way.way_out.before_push = lambda: seen.append(way.world.meta.known())
    allowed = await way.grants.allow(ALICE, "crates.io", 3600, BY)
    assert (allowed.rule, allowed.until, allowed.answered) == ("crates.io", int(NOW) + 3600, (1,))
    assert way.way_out.policy.agents[ALICE].allows("crates.io", 443, NOW)
    assert not way.way_out.policy.agents[ALICE].allows("crates.io", 443, NOW + 3600)
    assert await way.mail() == [
        "Your request 1: crates.io:443 is allowed until 2027-01-15 09:00 UTC. It is in force now."
    ]
    (event,) = await way.events("network_allowed")
    assert event[1] == {"rule": "crates.io", "until": allowed.until, "by": BY, "requests": [1]}


async def test_without_hive_egress_a_grant_is_recorded_and_answered_once_it_is_live(way: Way) -> None:
    await way.grants.request(ALICE, "crates.io", 443, "to build")
    way.way_out.away = True
    with pytest.raises(TransientError, match=r"recorded, but not in force yet") as error:
        await way.grants.allow(ALICE, "1", 60, BY)
    assert "by itself" in error.value.hint
    (grant,) = (await way.world.meta.read()).desired.run_of(ALICE).grants
    assert (grant.rule, grant.request, grant.by) == ("crates.io:443", 1, BY)
    for _ in range(2):  # the daemon dies and comes again, and hive-egress is still away
        way.restart()
        await way.answers.look()
        assert await way.mail() == []
        assert await way.events("network_allowed") == []
    way.way_out.away = False
    await way.way_out.push()
    for _ in range(3):  # and dies again after the answer
        await way.answers.look()
        way.restart()
    assert len(await way.mail()) == 1
    assert len(await way.events("network_allowed")) == 1
    assert (await way.requests.get(1)).decision == "allowed"


async def test_a_policy_that_is_to_be_pushed_answers_nothing(way: Way) -> None:
    await way.way_out.push()
    await way.grants.request(ALICE, "crates.io", 443, "to build")
    way.way_out.away = True
    with pytest.raises(TransientError):
        await way.grants.allow(ALICE, "crates.io", 60, BY)
    assert way.way_out.policy.agents[ALICE].allows("crates.io", 443, NOW)  # computed, not obeyed
    assert await way.answers.settle(ALICE) == []
    assert await way.mail() == []


async def test_a_grant_ends_by_itself_and_is_pruned_at_the_next_change(way: Way) -> None:
    await way.grants.allow(ALICE, "a.example", 60, BY)
    await way.grants.allow(ALICE, "b.example:22", 600, BY)
    way.now += 61
    for _ in range(2):
        await way.answers.look()
        way.restart()
    ended = await way.events("network_ended")
    assert ended == [("network_ended", {"rule": "a.example", "until": int(NOW) + 60, "by": BY})]
    await way.grants.allow(ALICE, "c.example", 60, BY)
    rules = [grant.rule for grant in (await way.world.meta.read()).desired.run_of(ALICE).grants]
    assert rules == ["b.example:22", "c.example"]


async def test_the_same_rule_again_has_the_new_end(way: Way) -> None:
    await way.grants.allow(ALICE, "a.example", 60, BY)
    way.now += 1
    await way.grants.allow(ALICE, "A.EXAMPLE", 3600, BY)
    (grant,) = (await way.world.meta.read()).desired.run_of(ALICE).grants
    assert grant.until == int(NOW) + 3601


async def test_a_grant_is_taken_back_at_once(way: Way) -> None:
    await way.grants.allow(ALICE, "a.example", 60, BY)
    await way.grants.revoke(ALICE, "a.example", BY)
    assert not way.way_out.policy.agents[ALICE].allows("a.example", 443, NOW)
    assert await way.events("network_revoked") == [("network_revoked", {"rule": "a.example", "by": BY})]
    with pytest.raises(NotFound, match=r"no grant of a.example; its grants are: none"):
        await way.grants.revoke(ALICE, "a.example", BY)


async def test_the_log_of_the_branch_run_names_each_action(way: Way) -> None:
    await way.grants.request(ALICE, "a.example", 443, "x")
    await way.grants.allow(ALICE, "1", 60, BY)
    await way.grants.revoke(ALICE, "a.example:443", BY)
    repo = way.world.meta.repo
    tip = repo.ref(RUN)
    assert tip is not None
    log = "\n".join([commit.message for commit in await repo.log(tip)])
    assert "network-allow alice" in log
    for trailer in ("Hive-Rule: a.example:443", f"Hive-Until: {int(NOW) + 60}", "Hive-Request: 1", f"Hive-By: {BY}"):
        assert trailer in log
    assert "Hive-Action: network-revoke" in log


REFUSED = (
    ("https://crates.io/", 60, BadInput, "is no"),
    ("0x7f.1", 60, BadInput, "odd spelling"),
    ("crates.io", 0, BadInput, "no time"),
    ("crates.io", 30 * 24 * 3600 + 1, BadInput, "no time"),
    ("other.org", 60, Refused, "beyond the ceiling of this host, which is: \\*.example crates.io"),
    ("*", 60, Refused, "beyond the ceiling"),
    ("10.1.2.3:443", 60, Refused, "address of a private network"),
    ("[fe80::1]:22", 60, Refused, "address of a private network"),
    ("9", 60, NotFound, "no network request 9"),
    ("9" * 40, 60, BadInput, "odd spelling"),
)


async def test_what_cannot_be_allowed_is_refused_with_the_reason(daemon: Daemon) -> None:
    way = Way(daemon, "*.example crates.io")
    for what, seconds, error, words in REFUSED:
        with pytest.raises(error, match=words):
            await way.grants.allow(ALICE, what, seconds, BY)
    assert (await way.world.meta.read()).desired.run_of(ALICE).grants == ()
    assert way.way_out.log == []


async def test_what_agent_toml_allows_needs_no_grant(way: Way) -> None:
    await edit(way.daemon, '[network]\nallow = ["*.example.org"]\n')
    with pytest.raises(Conflict, match=r"already, for good: agent.toml has \*.example.org"):
        await way.grants.allow(ALICE, "a.example.org:443", 60, BY)
    with pytest.raises(Conflict, match="not allowed for a time but for good"):
        await way.grants.revoke(ALICE, "a.example.org", BY)
    with pytest.raises(Conflict, match=r"allowed already$"):
        await way.grants.request(ALICE, "a.example.org", 80, "x")


async def test_a_request_is_refused_at_once_if_it_cannot_be_allowed_or_is(daemon: Daemon) -> None:
    way = Way(daemon, "*.example")
    with pytest.raises(Refused, match="beyond what the operator lets any agent"):
        await way.grants.request(ALICE, "crates.io", 443, "x")
    await way.grants.allow(ALICE, "a.example", 60, BY)
    with pytest.raises(Conflict, match=r"a.example:443 is allowed already, until 2027-01-15 08:01 UTC"):
        await way.grants.request(ALICE, "a.example", 443, "x")
    for host in ("*.example", "a.example/x", "a b", "", "a\x00.example", "2130706433", "x" * 300):
        with pytest.raises(BadInput):
            await way.grants.request(ALICE, host, 443, "x")
    with pytest.raises(BadInput, match="reason is empty"):
        await way.grants.request(ALICE, "b.example", 443, " \n")


async def test_a_deploy_that_allows_what_was_asked_for_answers_too(way: Way) -> None:
    await way.grants.request(ALICE, "crates.io", 443, "to build")
    await edit(way.daemon, '[network]\nallow = ["crates.io"]\n')
    await way.way_out.push()
    for _ in range(2):
        await way.answers.look()
        way.restart()
    assert await way.mail() == [
        "Your request 1: crates.io:443 is allowed for good, by your agent.toml. It is in force now."
    ]
    assert await way.events("network_allowed") == []
    assert await way.events("network_covered") == [("network_covered", {"id": 1, "rule": "crates.io:443"})]


async def test_for_good_is_a_proposal_that_keeps_the_file_as_it_is_written(way: Way) -> None:
    await edit(way.daemon, '# mine\n[network]\nallow = [\n  "a.example", # forge\n]\n')
    allowed = await way.grants.propose(ALICE, "crates.io", BY)
    assert allowed.until is None
    (card,) = await way.daemon.service.cards.pending()
    assert (card.id, card.description) == (allowed.proposal, "allow crates.io")
    text = await way.world.applied(ALICE).read(Sha(card.fetched_sha or ""), SETTINGS_FILE)
    assert text.decode() == '# mine\n[network]\nallow = [\n  "a.example", # forge\n  "crates.io",\n]\n'
    with pytest.raises(Occupied, match="still waits"):
        await way.grants.propose(ALICE, "other.example", BY)


async def test_a_destroyed_agent_takes_its_grants_and_requests_with_it(way: Way) -> None:
    await way.grants.request(ALICE, "b.example", 443, "x")
    await way.grants.allow(ALICE, "a.example", 600, BY)
    await way.daemon.service.agents.destroy(ALICE, BY)
    assert await way.daemon.service.loop.settled(ALICE, 30)
    assert (await way.world.meta.read()).desired.run_of(ALICE).grants == ()
    assert await way.requests.pending() == []

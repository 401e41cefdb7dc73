"""What an agent may reach: names, ports and addresses in every spelling."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from meta.network.policy import AgentPolicy, Policy
from meta.network.rule import parse_rule
from meta.network.verdict import Verdict
from reconciler.egress import addresses, resolver
from reconciler.egress.limits import RESOLUTIONS_PER_AGENT
from reconciler.egress.options import Options
from reconciler.egress.ports import Denied
from tests.reconciler.egress.lab import ALICE, BOB, Lab

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "spelling", ["{}", "UP.example", "up.example.", "Up.Example."], ids=["plain", "upper", "dot", "both"]
)
async def test_a_host_is_reached_in_its_harmless_spellings(way_out: Lab, spelling: str) -> None:
    await way_out.push(f"up.example:{way_out.upstream.port}")

    status = await way_out.status(f"{spelling.format('up.example')}:{way_out.upstream.port}")

    assert status == "HTTP/1.1 200 Connection established"


@pytest.mark.parametrize(
    ("target", "status", "verdict"),
    [
        ("crates.io:443", 403, Verdict.NOT_LISTED),
        ("up.example:22", 403, Verdict.NOT_LISTED),
        ("up.example.evil.example:443", 403, Verdict.NOT_LISTED),
        ("notup.example:443", 403, Verdict.NOT_LISTED),
        ("example:443", 403, Verdict.NOT_LISTED),
        ("wild.example:443", 403, Verdict.NOT_LISTED),
        ("127.0.0.1:443", 403, Verdict.NOT_LISTED),
        ("[::1]:443", 403, Verdict.NOT_LISTED),
        ("10.0.0.1:443", 403, Verdict.PRIVATE),
        ("[fd00::1]:443", 403, Verdict.PRIVATE),
        ("beyond.example:443", 403, Verdict.CEILING),
        ("up.example..:443", 400, Verdict.BAD_REQUEST),
        (".up.example:443", 400, Verdict.BAD_REQUEST),
        ("up..example:443", 400, Verdict.BAD_REQUEST),
        ("2130706433:443", 400, Verdict.BAD_REQUEST),
        ("0x7f000001:443", 400, Verdict.BAD_REQUEST),
        ("0177.0.0.1:443", 400, Verdict.BAD_REQUEST),
        ("127.1:443", 400, Verdict.BAD_REQUEST),
        ("127.0.0.01:443", 400, Verdict.BAD_REQUEST),
        ("1.2.3.4.5:443", 400, Verdict.BAD_REQUEST),
        ("[::ffff:10.0.0.1]:443", 400, Verdict.BAD_REQUEST),
        ("[fe80::1%eth0]:443", 400, Verdict.BAD_REQUEST),
        ("*:443", 400, Verdict.BAD_REQUEST),
        ("*.wild.example:443", 400, Verdict.BAD_REQUEST),
        ("a@up.example:443", 400, Verdict.BAD_REQUEST),
        ("up.example@evil.example:443", 400, Verdict.BAD_REQUEST),
        ("up.example%00.evil.example:443", 400, Verdict.BAD_REQUEST),
        ("up.example/:443", 400, Verdict.BAD_REQUEST),
        ("http://up.example:443", 400, Verdict.BAD_REQUEST),
        ("ünï.example:443", 400, Verdict.BAD_REQUEST),
        ("xn--zz--.example:443", 400, Verdict.BAD_REQUEST),
        ("up.example:0", 400, Verdict.BAD_REQUEST),
        ("up.example:65536", 400, Verdict.BAD_REQUEST),
        ("up.example:", 400, Verdict.BAD_REQUEST),
        ("up.example:0443", 400, Verdict.BAD_REQUEST),
        ("a" * 64 + ".example:443", 400, Verdict.BAD_REQUEST),
        ("nowhere.wild.example:443", 502, Verdict.UNRESOLVED),
    ],
)
async def test_a_request_gets_the_verdict_of_its_row(way_out: Lab, target: str, status: int, verdict: Verdict) -> None:
    ceiling = "*.wild.example up.example 10.0.0.1 [fd00::1] wild.example 127.0.0.1"
    await _restart(way_out, Options(*_paths(way_out), ceiling=ceiling))
    await way_out.push("up.example:443", "*.wild.example", "beyond.example", "10.0.0.1", "[fd00::1]")

    answer = await way_out.status(target)

    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert way_out.report().verdicts == {verdict: 1}
    assert way_out.upstream.connections == 0


async def test_nobody_is_sent_to_ask_for_what_the_ceiling_forbids(way_out: Lab) -> None:
    await _restart(way_out, Options(*_paths(way_out), ceiling="*.example"))
    await way_out.push("up.example")
    assert "403 a.example:443-is-not-on-the-list-of-alice (ask" in await way_out.status("a.example:443")
    words = "403 a.test:443-is-not-on-the-list-of-alice-and-beyond-the-ceiling-of-the-operator"
    assert words in await way_out.status("a.test:443")


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (["127.0.0.1"], "loopback"),
        (["0.0.0.0"], "unspecified"),
        (["10.0.0.1", "::1"], "loopback-or-private"),
        (["169.254.169.254"], "metadata"),
        (["::ffff:127.0.0.1"], "loopback"),
        (["100.64.1.1"], "shared"),
        (["fe80::1%2"], "link-local"),
    ],
)
async def test_a_name_with_no_global_address_is_refused(way_out: Lab, found: list[str], kind: str) -> None:
    way_out.names.addresses["inner.example"] = found
    await way_out.push("inner.example")

    status = await way_out.status("inner.example:443")

    assert status.startswith(f"HTTP/1.1 403 inner.example:443-resolves-to-an-address-of-kind-{kind} ")


async def test_of_public_and_private_addresses_only_the_public_are_dialled(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = _record_dials(monkeypatch)
    way_out.names.addresses["both.example"] = ["10.0.0.1", PUBLIC, "::1"]
    await way_out.push("both.example")

    assert (await way_out.status("both.example:443")).startswith("HTTP/1.1 502 both.example:443-does-not-answer")
    assert dialled == [[PUBLIC]]


async def test_a_name_is_resolved_once_so_its_address_cannot_change_after_the_check(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled = _record_dials(monkeypatch)
    way_out.names.addresses["rebind.example"] = [PUBLIC]
    await way_out.push("rebind.example")

    await way_out.status("rebind.example:443")
    way_out.names.addresses["rebind.example"] = ["127.0.0.1"]
    second = await way_out.status("rebind.example:443")

    assert way_out.names.asked == ["rebind.example"] * 2
    assert dialled == [[PUBLIC]]
    assert "loopback" in second


async def test_the_operators_hosts_are_not_asked_of_a_resolver(way_out: Lab) -> None:
    port = way_out.upstream.port
    way_out.configure(f'private = ["registry.corp:{port}"]\n[hosts]\n"registry.corp" = "127.0.0.1"')
    await way_out.server.tick()
    await way_out.push(f"registry.corp:{port}")

    assert "200" in await way_out.status(f"registry.corp:{port}")
    assert way_out.names.asked == []


async def test_private_is_for_one_port(way_out: Lab) -> None:
    await way_out.push("up.example:*")

    assert "403" in await way_out.status("up.example:5432")


async def test_a_host_that_does_not_answer_is_no_refusal(way_out: Lab) -> None:
    way_out.configure('private = ["up.example:1"]')
    await way_out.server.tick()
    await way_out.push("up.example:1")

    assert (await way_out.status("up.example:1")).startswith("HTTP/1.1 502 up.example:1-does-not-answer")
    assert way_out.report().verdicts == {Verdict.UNREACHABLE: 1}
    assert way_out.report().refusals == ()


async def test_a_resolver_that_hangs_holds_its_own_agent_only(way_out: Lab) -> None:
    lookup = StuckLookup(asyncio.get_running_loop())
    slow = resolver.Resolver(lookup)
    questions = [asyncio.create_task(slow.addresses(f"{number}.example", 443)) for number in range(20)]
    await lookup.full.wait()
    await way_out.push(f"up.example:{way_out.upstream.port}")

    assert "200" in await way_out.status(f"up.example:{way_out.upstream.port}")
    assert lookup.asked == RESOLUTIONS_PER_AGENT
    for question in questions:
        question.cancel()
    lookup.release.set()


async def test_a_resolver_that_does_not_answer_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "RESOLVE_SECONDS", 0.02)
    lookup = StuckLookup(asyncio.get_running_loop())
    slow = resolver.Resolver(lookup)

    with pytest.raises(Denied, match=r"up\.example-the-resolver-does-not-answer") as caught:
        await slow.addresses("up.example", 443)

    assert caught.value.verdict is Verdict.UNRESOLVED
    lookup.release.set()


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        ({"a": "refuses", "b": "answers"}, "b"),
        ({"a": "hangs", "b": "answers"}, "b"),
        ({"a": "answers", "b": "answers"}, "a"),
        ({"a": "hangs", "b": "refuses", "c": "answers"}, "c"),
        ({"a": "refuses", "b": "refuses"}, None),
    ],
)
async def test_the_first_address_that_answers_is_taken(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], winner: str | None
) -> None:
    monkeypatch.setattr(resolver, "ADDRESS_HEAD_START", 0.01)
    tried: dict[str, socket.socket] = {}

    async def attempt(address: str, port: int) -> socket.socket:
        connection = tried[address] = socket.socket()
        try:
            if answers[address] == "hangs":
                await asyncio.Event().wait()
            if answers[address] == "refuses":
                raise ConnectionRefusedError(111, address)
        except BaseException:
            connection.close()
            raise
        return connection

    monkeypatch.setattr(resolver, "_connect", attempt)
    if winner is None:
        with pytest.raises(ConnectionRefusedError, match="a"):
            await resolver.connect(list(answers), 443)
    else:
        connection = await resolver.connect(list(answers), 443)
        assert connection is tried[winner]
    await asyncio.sleep(0)

    assert [address for address, each in tried.items() if each.fileno() >= 0] == ([winner] if winner else [])
    for each in tried.values():
        each.close()


async def test_a_refusal_is_kept_until_a_rule_covers_it(way_out: Lab) -> None:
    await way_out.push()
    for _ in range(3):
        await way_out.status("crates.io:443")
    (refusal,) = way_out.report().refusals

    await way_out.push("crates.io:443")

    assert (refusal.host, refusal.port, refusal.count, refusal.verdict) == ("crates.io", 443, 3, Verdict.NOT_LISTED)
    assert way_out.report().refusals == ()


async def test_refusals_of_many_hosts_are_bounded(way_out: Lab) -> None:
    await way_out.push()
    gate = way_out.server._gates[ALICE]
    for number in range(300):
        with pytest.raises(Denied):
            gate.decide(f"h{number}.example", 443)

    refusals = way_out.report().refusals

    assert len(refusals) == 200
    assert (refusals[-1].host, refusals[-1].port, refusals[-1].count) == ("*", 0, 101)


async def test_an_agent_has_its_own_rules(way_out: Lab) -> None:
    port = way_out.upstream.port
    for agent in (ALICE, BOB):
        way_out.folder(agent)
    rules = {ALICE: AgentPolicy((parse_rule(f"up.example:{port}"),)), BOB: AgentPolicy()}
    await way_out.server.set_policy(Policy(rules))

    assert "200" in await way_out.status(f"up.example:{port}", ALICE)
    assert f"403 up.example:{port}-is-not-on-the-list-of-bob" in await way_out.status(f"up.example:{port}", BOB)


async def test_a_port_80_tunnel_is_decided_before_it_is_http(way_out: Lab) -> None:
    await way_out.push("up.example:443")

    assert "403" in await way_out.status("up.example:80")


def _record_dials(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    dialled: list[list[str]] = []

    async def connect(addresses: list[str], port: int) -> None:
        dialled.append(list(addresses))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("reconciler.egress.gate.connect", connect)
    return dialled


class StuckLookup:
    """A resolver that answers nothing before the test's end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.asked = 0
        self.full = asyncio.Event()
        self.release = threading.Event()

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        if self.asked == RESOLUTIONS_PER_AGENT:
            self._loop.call_soon_threadsafe(self.full.set)
        self.release.wait(30)
        return []


def _paths(lab: Lab) -> tuple[Path, Path, Path, Path]:
    return lab.options.sockets, lab.options.control, lab.options.state, lab.options.network


async def _restart(lab: Lab, options: Options) -> None:
    await lab.server.close()
    lab.options = options
    await lab.start()


async def test_of_an_answer_with_very_many_addresses_a_few_are_checked(
    way_out: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def refuse(address: str, port: int, *, private: bool) -> str:
        checked.append(address)
        return "private"

    monkeypatch.setattr(addresses, "refusal", refuse)
    way_out.names.addresses["many.example"] = [f"93.{number // 256}.{number % 256}.7" for number in range(4000)]
    await way_out.push("many.example")

    assert "an-address-of-kind-private" in await way_out.status("many.example:443")
    assert len(checked) == 32

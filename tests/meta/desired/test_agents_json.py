"""agents.json and run.json: read back as written, and faults named by their place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from meta.desired.agents_json import Agents, decode_agents, decode_entry, decode_run, encode_agents, encode_run
from meta.errors import BadInput
from meta.model import AgentEntry, ContainerSettings, Limits, Pin, Role, RunEntry, RunState, Tombstone
from meta.names import AgentName, ProposalId, Sha


def _sha(number: int) -> Sha:
    return Sha(f"{number:040x}")


names = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True).filter(
    lambda name: name not in ("operator", "system", "reminder", "host", "hive")
)
pins = st.builds(Pin, st.integers(0, 2**40).map(ProposalId), st.integers(0, 2**100).map(_sha))
ids = st.frozensets(st.integers(0, 99).map(ProposalId), max_size=3)
maybe = st.none() | st.integers(1, 9999)
counts = st.integers(0, 2**32 - 1)
uids = st.integers(1, 2**16 - 2).map(lambda number: number * 2**16)
settings_ = st.builds(
    ContainerSettings, st.sampled_from(Role), uids, st.builds(Limits, maybe, maybe, maybe, maybe), st.booleans()
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(names.map(AgentName), st.builds(AgentEntry, pins, settings_, ids), max_size=4),
    st.dictionaries(names.map(AgentName), st.builds(Tombstone, uids, pins, st.booleans(), ids), max_size=4),
)
def test_agents_json_is_read_back_as_written(
    agents: dict[AgentName, AgentEntry], tombstones: dict[AgentName, Tombstone]
) -> None:
    bases = [entry.settings.uid_base for entry in agents.values()]
    bases += [grave.uid_base for name, grave in tombstones.items() if name not in agents]
    assume(len(set(bases)) == len(bases))
    text = encode_agents(agents, tombstones)
    read = decode_agents(text)
    assert (read.agents, read.tombstones) == (agents, tombstones)
    again = decode_agents(text, read)
    assert (again.agents, again.tombstones) == (agents, tombstones)
    assert all(again.tombstones[name] is read.tombstones[name] for name in tombstones)
    reversed_ = dict(reversed(agents.items()))
    assert encode_agents(reversed_, tombstones) == text


@given(
    st.dictionaries(names.map(AgentName), st.builds(RunEntry, st.sampled_from(RunState), counts, counts), max_size=4)
)
def test_run_json_is_read_back_as_written(run: dict[AgentName, RunEntry]) -> None:
    assert decode_run(encode_run(run)) == run


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "not JSON"),
        ("[]", "it must be an object"),
        ('{"agents": {}}', "version"),
        ('{"version": 2}', "newer hive"),
        ('{"version": 1, "agnets": {}}', "agnets: unknown key"),
        ('{"version": 1, "agents": []}', "agents: it must be an object"),
        ('{"version": 1, "agents": {"Al ice": {}}}', "Al ice"),
        ('{"version": 1, "agents": {"alice": {}}}', r"agents\.alice\.pin"),
        ('{"version": 1, "agents": {"alice": {"pin": {"id": "3", "sha": "x"}}}}', r"agents\.alice\.pin\.id"),
        ('{"version": 1, "tombstones": {"bob": {"uid_base": true}}}', r"tombstones\.bob"),
    ],
)
def test_a_fault_in_agents_json_is_named_by_its_place(text: str, place: str) -> None:
    with pytest.raises(BadInput, match=place):
        decode_agents(text.encode())


def test_nothing_is_shared_between_empty_values() -> None:
    assert decode_agents(encode_agents({}, {})) == Agents(raw={"agents": {}, "tombstones": {}})


def _with(**bases: int) -> dict[AgentName, AgentEntry]:
    pin = Pin(ProposalId(0), _sha(1))
    return {AgentName(name): AgentEntry(pin, ContainerSettings(Role.AGENT, base)) for name, base in bases.items()}


@pytest.mark.parametrize(
    ("bases", "fault"),
    [
        ({"bob": 0}, r"agents\.bob would have the uids from 0"),
        ({"bob": 1000}, "outside of those that agents may have"),
        ({"bob": 524_287}, "from 524287"),
        ({"bob": 2**32 - 65_536}, "from 4294901760"),
        ({"bob": 2**32 - 1}, "from 4294967295"),
        ({"alice": 600_000, "bob": 600_000}, r"agents\.alice and agents\.bob would share uids"),
        ({"alice": 600_000, "bob": 665_535}, "begin at 600000 and 665535"),
    ],
)
def test_a_range_of_uids_that_is_not_the_agents_alone_is_neither_written_nor_read(
    bases: dict[str, int], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents, first = _with(**bases), 524_288
    with pytest.raises(BadInput, match=fault):
        encode_agents(agents, {}, first)
    with monkeypatch.context() as before:
        before.setattr("meta.desired.agents_json.require_apart", lambda *_: None)
        text = encode_agents(agents, {})
    with pytest.raises(BadInput, match=fault):
        decode_agents(text, first_uid=first)
    if len(bases) == 1:
        with pytest.raises(BadInput, match=fault):
            decode_entry(text, AgentName("bob"), first)


def test_the_range_of_a_destroyed_agent_is_not_given_to_another() -> None:
    grave = Tombstone(600_000, Pin(ProposalId(0), _sha(1)))
    with pytest.raises(BadInput, match=r"tombstones\.bob"):
        encode_agents(_with(alice=600_000), {AgentName("bob"): grave})


def test_an_agents_own_limit_of_the_disk_is_kept_and_changes_no_generation() -> None:
    plain = ContainerSettings(Role.AGENT, 600_000)
    own = replace(plain, limits=Limits(disk_mib=512))
    entry = AgentEntry(Pin(ProposalId(1), Sha("1" * 40)), own)
    text = encode_agents({AgentName("alice"): entry}, {})
    assert decode_agents(text).agents[AgentName("alice")] == entry
    assert own.fingerprint() == plain.fingerprint()
    assert b"disk_mib" not in encode_agents({AgentName("alice"): replace(entry, settings=plain)}, {})

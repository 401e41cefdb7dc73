"""The line protocol: what is exactly of its form comes back the same, everything else is refused with a reason."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meta import model
from meta.errors import BadInput, HiveError, NotFound, Refused, TransientError
from meta.names import AgentName
from reconciler.privileged import protocol
from reconciler.privileged.protocol import (
    LINE_LIMIT,
    Create,
    Destroy,
    Logs,
    Measure,
    OwnDirectory,
    RemoveDirectories,
    Request,
    SetSystem,
    Start,
    Stop,
    WriteSettings,
    decode,
    decode_answer,
    encode,
    encode_done,
    encode_error,
)
from reconciler.privileged.values import KINDS, ROLES, Bounds, Limits, Settings

BOUNDS = Bounds()
unhurried = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
HASH = "0123456789abcdfghijklmnpqrsvwxyz"
SYSTEM = f"/nix/store/{HASH}-nixos-system-alice-24.11"

names = st.from_regex(r"[a-z][a-z0-9-]{0,9}[a-z0-9]", fullmatch=True).filter(
    lambda text: text not in ("operator", "system", "reminder", "host", "hive")
)
uids = st.integers(8, 28_000).map(lambda slot: slot * 65_536)
systems = st.from_regex(r"[0-9a-df-np-sv-z]{32}-[0-9A-Za-z+_?=-][0-9A-Za-z+._?=-]{0,40}", fullmatch=True).map(
    lambda entry: f"/nix/store/{entry}"
)
whole = st.none() | st.integers(1, 1_000_000)
settings = st.builds(Settings, st.sampled_from(ROLES), uids, st.builds(Limits, whole, whole, whole), st.booleans())
agents = names.map(AgentName)
requests = st.one_of(
    st.builds(Create, agents, uids, systems),
    st.builds(SetSystem, agents, systems),
    st.builds(WriteSettings, agents, settings),
    st.builds(Start, agents),
    st.builds(Stop, agents, st.floats(0, 600)),
    st.builds(Destroy, agents),
    st.builds(RemoveDirectories, agents),
    st.builds(Measure, agents),
    st.builds(OwnDirectory, agents, st.sampled_from(KINDS), uids),
    st.builds(Logs, agents, st.integers(1, 1000), st.none() | st.from_regex(r"s=[0-9a-z=;]{1,99}", fullmatch=True)),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)


@unhurried
@given(requests)
def test_every_request_comes_back_the_same(request: Request) -> None:
    assert decode(encode(request), BOUNDS) == request


@unhurried
@given(st.binary(max_size=300))
@example(b"[" * 60_000)
@example(b'{"verb":"stop","name":"alice","grace":' + b"9" * 5000 + b"}")
@example(b'{"verb":"start","name":"\\ud800"}')
def test_any_bytes_are_refused_or_are_a_request(line: bytes) -> None:
    with pytest.raises(BadInput):
        decode(line, BOUNDS)


@unhurried
@given(requests, st.data())
def test_a_request_with_one_foreign_value_is_refused_or_exactly_of_its_form(
    request: Request, data: st.DataObject
) -> None:
    table = json.loads(encode(request))
    key = data.draw(st.sampled_from(sorted(table)))
    table[key] = data.draw(json_values)
    try:
        found = decode(json.dumps(table).encode(), BOUNDS)
    except BadInput as error:
        assert error.summary.isprintable()
    else:
        assert decode(encode(found), BOUNDS) == found


def line(**fields: object) -> bytes:
    """A request as bytes, well formed or not."""
    return json.dumps(fields).encode()


def settings_line(**changes: object) -> bytes:
    """write-settings with changed settings."""
    table = {**asdict(Settings("agent", 524_288)), **changes}
    return line(verb="write-settings", name="alice", settings=table)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\n",
        b"null",
        b'"start"',
        line(verb="exec", name="alice"),
        line(verb=["start"], name="alice"),
        line(name="alice"),
        line(verb="start"),
        line(verb="start", name="alice", extra=1),
        b'{"verb":"start","name":"alice","name":"bob"}',
        b'{"verb":"start","name":"alice","verb":"destroy"}',
        line(verb="start", name=7),
        line(verb="start", name="hive"),
        line(verb="start", name="alice\n"),
        line(verb="start", name="../etc"),
        line(verb="start", name="-alice"),
        line(verb="start", name="a" * 12),
        line(verb="start", name="\u0430lice"),
        line(verb="stop", name="alice", grace=True),
        line(verb="stop", name="alice", grace="1"),
        line(verb="stop", name="alice", grace=-1),
        line(verb="stop", name="alice", grace=601),
        b'{"verb":"stop","name":"alice","grace":NaN}',
        b'{"verb":"stop","name":"alice","grace":1e999}',
        line(verb="set-system", name="alice", system="/nix/store"),
        line(verb="set-system", name="alice", system="/etc/passwd"),
        line(verb="set-system", name="alice", system=f"{SYSTEM}/init"),
        line(verb="set-system", name="alice", system=f"{SYSTEM}\n"),
        line(verb="set-system", name="alice", system=f"{SYSTEM}/../../../etc"),
        line(verb="set-system", name="alice", system=f"/nix/store/../store/{HASH}-x"),
        line(verb="set-system", name="alice", system=f"/nix/store/{HASH}-.."),
        line(verb="set-system", name="alice", system=f"/nix/store/{HASH.replace('0', 'e')}-x"),
        line(verb="set-system", name="alice", system=f'{SYSTEM}" --bind=/'),
        line(verb="own-directory", name="alice", kind="applied", uid_base=524_288),
        line(verb="own-directory", name="alice", kind="state", uid_base=0),
        line(verb="own-directory", name="alice", kind="state", uid_base=524_289),
        line(verb="own-directory", name="alice", kind="state", uid_base=2**32 - 65_536),
        line(verb="own-directory", name="alice", kind="state", uid_base=524_288.0),
        line(verb="logs", name="alice", lines=0, cursor=None),
        line(verb="logs", name="alice", lines=1001, cursor=None),
        line(verb="logs", name="alice", lines=True, cursor=None),
        line(verb="logs", name="alice", lines=1, cursor=None, since=-1),
        line(verb="logs", name="alice", lines=1, cursor=None, since="yesterday"),
        line(verb="logs", name="alice", lines=1, cursor="--directory=/"),
        line(verb="logs", name="alice", lines=1, cursor="s=0 --directory=/"),
        settings_line(role="root"),
        settings_line(isolated=1),
        settings_line(limits={"memory_mib": 1, "pids": 1}),
        settings_line(limits={"memory_mib": 0, "pids": 1, "cpu_percent": 1}),
        settings_line(limits={"memory_mib": "1\nUser=root", "pids": 1, "cpu_percent": 1}),
        settings_line(binds=["/:/host"]),
    ],
)
def test_what_is_not_exactly_of_its_form_is_refused(bad: bytes) -> None:
    with pytest.raises(BadInput):
        decode(bad, BOUNDS)


def test_a_line_over_the_limit_is_refused_before_it_is_parsed() -> None:
    padded = encode(Start(AgentName("alice"))).rstrip()
    assert decode(padded.ljust(LINE_LIMIT), BOUNDS) == Start(AgentName("alice"))
    with pytest.raises(BadInput, match="65536 bytes"):
        decode(padded.ljust(LINE_LIMIT + 1), BOUNDS)


@pytest.mark.parametrize(
    "error", [BadInput("a", "b"), NotFound("a", "b"), Refused("a", "b"), TransientError("a", "b", 3)]
)
def test_an_error_arrives_as_what_it_was(error: HiveError) -> None:
    with pytest.raises(type(error)) as caught:
        decode_answer(encode_error(error))
    assert (type(caught.value), caught.value.summary, caught.value.hint) == (type(error), "a", "b")
    if isinstance(error, TransientError):
        assert getattr(caught.value, "retry_after", None) == 3


@pytest.mark.parametrize("answer", [b"", b"\n", b"[]\n", b"{\n"])
def test_what_is_no_answer_is_transient(answer: bytes) -> None:
    with pytest.raises((TransientError, HiveError)) as caught:
        decode_answer(answer)
    assert isinstance(caught.value, TransientError)


def test_the_data_of_an_answer_arrives() -> None:
    assert decode_answer(encode_done({"lines": ["\u00e4\n"], "cursor": None}))["lines"] == ["\u00e4\n"]


@unhurried
@given(settings)
def test_the_fingerprint_is_that_of_the_model(mirrored: Settings) -> None:
    original = model.ContainerSettings(
        model.Role(mirrored.role), mirrored.uid_base, model.Limits(**asdict(mirrored.limits)), mirrored.isolated
    )
    assert mirrored.fingerprint() == original.fingerprint()
    values = asdict(original)
    del values["limits"]["disk_mib"]  # the daemon measures it: the helper need not know
    assert values == asdict(mirrored)


def test_every_verb_is_named_once() -> None:
    assert len(set(protocol.VERBS.values())) == len(protocol.VERBS) == 10

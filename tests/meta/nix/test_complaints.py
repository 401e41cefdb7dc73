"""What nix wrote, cut to what helps: texts captured from nix 2.8, 2.26 and 2.34 (tests/meta/nix/data)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from meta.nix import build_complaint, complaints, evaluation_complaint
from meta.nix.store import Store, locate

DATA = Path(__file__).parent / "data"
VERSIONS = ("2.8", "2.26", "2.34")
OWN = "/nix/store/0y5cp2k9glwwp02ws4d9gj7ybbd1apk9-source/"
PLACES = {
    OWN: "",
    "git+file:///state/applied/alice/.git": "",
    "/nix/store/3s6hcy1j5qlap8pcr46ww5vs5qhwv8yf-source/": "nixpkgs/",
}


def said(version: str, case: str) -> str:
    """What that version wrote."""
    return (DATA / version / f"{case}.txt").read_text()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("case", "first", "where"),
    [
        ("undefined-attribute", "error: attribute 'y' missing", "at agent.nix:3:28:"),
        ("unknown-option", "error: The option `services.nginks' does not exist.", "- In `agent.nix'"),
        ("wrong-type", "error: A definition for option `environment.etc.x.text' is not of type", "- In `agent.nix': 3"),
        ("recursion", "error: infinite recursion encountered", "at agent.nix:1:18:"),
    ],
)
def test_an_evaluations_complaint_is_its_last_error_with_the_authors_file(
    version: str, case: str, first: str, where: str
) -> None:
    told = evaluation_complaint(said(version, case), PLACES)
    assert told.startswith(first)
    assert where in told
    assert "trace" not in told
    assert "/nix/store" not in told
    assert told.count("error:") == 1
    assert complaints.summary(told).startswith(first.removeprefix("error: "))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_builds_complaint_is_its_first_error_with_the_end_of_the_log(version: str) -> None:
    told = build_complaint(said(version, "builder"), PLACES)
    assert "failed with exit code 3" in told
    assert "broken.drv" in told.splitlines()[0]
    assert told.endswith("last 2 log lines:\n> one\n> error: two")
    assert "nixos-system" not in told
    assert "0y5cp" not in complaints.summary(told)
    assert "'broken.drv'" in complaints.summary(told)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_repo_that_is_out_of_sight_is_named(version: str) -> None:
    assert "/state/applied/bob/.git" in evaluation_complaint(said(version, "other-repo"), PLACES)


def test_a_log_that_nix_quotes_itself_is_not_quoted_twice() -> None:
    text = "noise\nerror: builder for '/nix/store/x.drv' failed with exit code 1;\n  last 1 log lines:\n  > oh"
    assert build_complaint(text).count("log lines:") == 1


@pytest.mark.parametrize("text", ["", "killed\n", "warning: x"])
def test_what_holds_no_error_is_told_as_it_is(text: str) -> None:
    assert evaluation_complaint(text) == build_complaint(text) == text.strip()


def test_control_characters_and_secrets_are_taken_out() -> None:
    assert evaluation_complaint("error: \x1b[31msk-ant-0123456789\x07") == "error: [redacted]"


@pytest.mark.parametrize(
    "line",
    [
        "error: writing to file: No space left on device",
        "error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused",
        "error: cannot connect to daemon at '/x': No such file or directory",
        "error: path '/nix/store/x.drv' is not valid",
        "error: SQLite database '/nix/var/nix/db/db.sqlite' is busy, database is locked",
    ],
)
def test_the_hosts_own_trouble_may_pass(line: str) -> None:
    assert complaints.passes(line)


@pytest.mark.parametrize(
    "text",
    [
        "error: attribute 'y' missing\n  No space left on device",
        "error: builder for '/nix/store/x.drv' failed with exit code 1: No space left on device",
        "error: Cannot build '/nix/store/No space left on device.drv'.",
        "",
    ],
)
def test_an_authors_mistake_does_not_pass(text: str) -> None:
    assert not complaints.passes(text)


def test_a_download_may_pass_only_where_there_is_a_network() -> None:
    line = "error: unable to download 'https://example.org': Couldn't resolve host name (6)"
    assert complaints.passes(line, network=True)
    assert not complaints.passes(line)


def test_running_out_of_memory_is_seen() -> None:
    assert complaints.is_memory("GC Warning: Failed to expand heap by 8000000000 bytes\nerror: out of memory")
    assert complaints.is_memory("terminate called after throwing an instance of 'std::bad_alloc'")
    assert not complaints.is_memory("error: undefined variable 'x'")


# where inputs lie
def test_the_place_of_an_input_follows_from_its_hash_and_the_store() -> None:
    nar = "sha256-SFWbypPzv2ypA3quuE9jY+x9k3qlTpegabRDBr5YU34="
    assert Store().input_path(nar) == Path("/nix/store/9wa4xlay41jh7cqm3z7q8kfyp58pczc1-source")
    assert Store(store=Path("/other")).input_path(nar) != Store().input_path(nar)


@pytest.mark.parametrize("nar", ["", "sha256-", "sha256-!!!", "sha1-AAAA", "sha256-" + base64.b64encode(b"x").decode()])
def test_a_hash_of_another_kind_has_no_place(nar: str) -> None:
    assert Store().input_path(nar) is None


def test_inputs_are_called_by_what_people_know() -> None:
    nar = {name: f"sha256-{base64.b64encode(bytes([at] * 32)).decode()}" for at, name in enumerate("abc")}
    nodes = {
        "agent-alice": {"locked": {"type": "git", "url": "file:///a/.git", "rev": "1" * 40, "narHash": nar["a"]}},
        "nixpkgs": {"locked": {"type": "path", "narHash": nar["b"]}},
        "agent-bob": {"locked": {"type": "git", "narHash": nar["c"]}},
        "root": {"inputs": {"agent-alice": "agent-alice", "nixpkgs": "nixpkgs", "agent-bob": "agent-bob"}},
    }
    found = complaints.places(json.dumps({"nodes": nodes, "root": "root"}).encode(), "agent-alice", Store())
    assert found == {
        f"{Store().input_path(nar['a'])}/": "",
        "git+file:///a/.git": "",
        f"{Store().input_path(nar['b'])}/": "nixpkgs/",
        f"{Store().input_path(nar['c'])}/": "agent-bob/",
    }


@pytest.mark.parametrize("lock", [b"", b"[]", b"{}", b'{"nodes": {}, "root": "root"}', b'{"nodes": 3, "root": 4}'])
def test_a_damaged_lock_names_no_places(lock: bytes) -> None:
    assert complaints.places(lock, "agent-alice", Store()) == {}


# which store
def test_a_listening_daemon_is_used_also_by_root(tmp_path: Path) -> None:
    found = locate({"NIX_STATE_DIR": str(tmp_path)})
    assert found.direct
    found = locate({"NIX_REMOTE": "daemon", "NIX_DAEMON_SOCKET_PATH": "/run/nix.sock"})
    assert (found.direct, found.socket) == (False, Path("/run/nix.sock"))


def test_an_empty_variable_counts_as_unset() -> None:
    assert locate({"NIX_STORE_DIR": ""}).store == Path("/nix/store")
    assert locate({"NIX_STORE_DIR": "", "HOME": "/root"}).environment == locate({}).environment

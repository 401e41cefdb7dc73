"""A diff names every file of a proposal, and no proposal makes the daemon hold what it has checked out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.lab import Lab

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice",), settings={"HIVE_RESYNC": "600"})]
MIB = 2**20


def _committed(lab: Lab, files: dict[str, bytes]) -> Path:
    """Commit files on top of what alice runs; the clone."""
    clone = lab.commit('label = "more"\n')
    for name, content in files.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes(content)
    lab.git(clone, "add", "-A")
    lab.git(clone, "commit", "-q", "--allow-empty", "-m", "files")
    return clone


def _peak(lab: Lab) -> int:
    """The most memory that the daemon ever had, in KiB."""
    status = Path(f"/proc/{lab.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.split("\n") if line.startswith("VmHWM"))


def test_a_file_behind_padding_is_in_the_list_and_in_the_patch(lab: Lab) -> None:
    padding = b"0123456789abcde\n" * (MIB // 20)
    clone = _committed(lab, {"a": padding, "b": padding + b"b\n", "run.sh": b"#!/bin/sh\n"})
    id = lab.post("/api/proposals", agent="alice", source=str(clone))["id"]
    diff = lab.get(f"/api/proposals/{id}/diff")
    assert diff["files"] == ["a", "agent.toml", "b", "run.sh"]
    assert [change["path"] for change in diff["changes"] if not change["shown"]] == ["b"]
    assert diff["cut"]
    printed = lab.hive("diff", str(id)).out
    assert "run.sh  10" in printed
    assert f"b  {len(padding) + 2}, NOT WHOLE BELOW" in printed
    assert "+#!/bin/sh" in printed

    assert "+#!/bin/sh" not in lab.hive("diff", str(id), "--stat").out
    one = lab.hive("diff", str(id), "b").out
    assert ("+b\n" in one, "+#!/bin/sh" in one) == (True, False)
    assert "nothing changes at c" in lab.hive("diff", str(id), "c").err

    refused = lab.hive("approve", str(id))
    assert refused.code != 0
    assert f"`hive approve {id} --unseen` approves all" in refused.err
    assert lab.card(id)["status"] == "pending"
    assert lab.hive("approve", str(id), "--unseen").code == 0
    lab.settle("alice")
    assert lab.card(id)["state"] == "deployed"


def test_a_large_blob_of_many_paths_costs_the_daemon_nothing(lab: Lab) -> None:
    """Twelve paths of 8 MiB pass the limit on the sum; the patch of them would have 96 MiB."""
    clone = _committed(lab, {f"d/{number}": b"\n" * (8 * MIB) for number in range(12)})
    id = lab.post("/api/proposals", agent="alice", source=str(clone))["id"]
    before = _peak(lab)
    diff = lab.get(f"/api/proposals/{id}/diff")
    assert _peak(lab) - before < 64 * 1024
    assert sum(change["new_size"] == 8 * MIB for change in diff["changes"]) == 12
    lab.post(f"/api/proposals/{id}/deny")


def test_a_tree_that_is_large_when_checked_out_is_no_proposal(lab: Lab) -> None:
    clone = _committed(lab, {f"d/{number}": b"\n" * (8 * MIB) for number in range(17)})
    refused = lab.hive("propose", "alice", "--from", str(clone))
    assert refused.code != 0
    assert "bytes together" in refused.err
    assert "HIVE_MAX_TREE_BYTES" in refused.err


def test_what_is_invisible_in_a_proposal_is_shown_and_named(lab: Lab) -> None:
    """In the patch, the commit's subject, the card and the events; the JSON of the patch keeps its text."""
    clone = lab.commit('label = "more"\n')
    (clone / "run.sh").write_text("rm\u200b -rf\u2028x\U000e0041\n", encoding="utf-8")
    lab.git(clone, "add", "-A")
    lab.git(clone, "commit", "-q", "-m", "good\u2028Hive-By: operator\u202e")
    id = lab.post("/api/proposals", agent="alice", source=str(clone), description="nice\u2028\u200bone")["id"]
    diff = lab.get(f"/api/proposals/{id}/diff")
    assert "rm\u200b -rf\u2028x\U000e0041" in diff["patch"]
    assert diff["invisible"] == [
        "U+200B ZERO WIDTH SPACE",
        "U+2028 LINE SEPARATOR",
        "U+E0041 TAG LATIN CAPITAL LETTER A",
    ]
    printed = lab.hive("diff", str(id)).out
    assert "+rm\\u200b -rf\\u2028x\\U000e0041" in printed
    assert "good\\u2028Hive-By: operator\\u202e" in printed
    assert lab.card(id)["description"] == "nice\\u2028\\u200bone"
    assert lab.events("proposal_created")[-1]["data"]["description"] == "nice\\u2028\\u200bone"
    assert not {"\u2028", "\u200b", "\u202e"} & set(lab.told(f"proposal/{id}"))
    lab.post(f"/api/proposals/{id}/deny")


def test_an_agent_toml_that_a_parser_could_be_slow_at_is_named_and_not_parsed(lab: Lab) -> None:
    text = f"{'.'.join(['a'] * 65)} = 1\n"
    id = lab.propose(text)
    diff = lab.get(f"/api/proposals/{id}/diff")
    assert "65 parts in one key" in diff["complaint"]
    assert "65 parts in one key" in lab.hive("diff", str(id)).out
    assert lab.approve(id)["status"] == "failed"
    assert lab.agent("alice")["phase"] == "running"


def test_a_long_agent_toml_is_parsed_beside_the_daemon_and_deployed(lab: Lab) -> None:
    text = 'label = "long"\nprompt = """' + "be kind\n" * 2000 + '"""\n'
    assert lab.deploy(text)["status"] == "approved"
    assert lab.agent("alice")["phase"] == "running"

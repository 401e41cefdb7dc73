"""Approvals that need the touch of a passkey, on a real daemon: who may do without, and what the record holds."""

from __future__ import annotations

import json
import os

import pytest

from meta.errors import Refused
from tests.support.authenticator import SoftKey
from tests.support.lab import Lab

ORIGIN = "https://hive.example.org"
SETTINGS = {"HIVE_DASHBOARD_APPROVE_BY_PASSKEY": "1", "HIVE_DASHBOARD_ORIGIN": ORIGIN}
pytestmark = pytest.mark.lab(agents=("alice",), settings=SETTINGS, backend="fake")


def how(lab: Lab) -> dict[int, str]:
    said = lab.hive("audit", "approvals", "--json")
    report = json.loads(said.out)
    assert report["faults"] == report["warnings"] == 0
    return {row["id"]: row["consent"] for row in report["approvals"] if row["agent"] == "alice"}


def test_an_approval_without_a_touch_is_refused_on_every_socket_with_the_remedy(lab: Lab) -> None:
    id = lab.propose("label = 'one'\n")
    said = lab.hive("approve", str(id))
    assert said.code != 0
    assert "needs the touch of a passkey" in said.err
    assert ORIGIN in said.err
    assert "--without-passkey" in said.err
    answer = lab.host(cmd="approve", id=id)
    assert "needs the touch of a passkey" in str(answer)
    assert lab.card(id)["state"] == "proposal"
    lab.post(f"/api/proposals/{id}/deny")


def test_only_root_approves_without_a_passkey_and_the_record_says_so(lab: Lab) -> None:
    id = lab.propose("label = 'root'\n")
    said = lab.hive("approve", str(id), "--without-passkey", "--wait")
    if os.geteuid() != 0:
        assert "only root may" in said.err
        return
    assert said.code == 0, said.err
    consents = how(lab)
    assert (consents[0], consents[id]) == ("command", "root without passkey")


def test_a_touch_approves_what_was_shown_and_an_audit_checks_it_again(lab: Lab) -> None:
    key = SoftKey(origin=ORIGIN)
    offer = lab.post("/api/dashboard/passkeys/new")
    lab.post("/api/dashboard/passkeys", credential=key.create(offer["options"]), name="phone", touch="")
    id = lab.propose("label = 'touched'\n")
    commit = lab.card(id)["fetched_sha"]
    with pytest.raises(Refused, match=f"proposal {id} is {commit[:12]}, not 0000"):
        lab.post(f"/api/proposals/{id}/challenge", seen="0" * 40)
    touch = key.touch(lab.post(f"/api/proposals/{id}/challenge", seen=commit)["options"])
    other = lab.propose("label = 'other'\n")
    with pytest.raises(Refused, match="the touch was for id"):
        lab.post(f"/api/proposals/{other}/approve", assertion=touch)
    touch = key.touch(lab.post(f"/api/proposals/{id}/challenge", seen=commit)["options"])
    lab.post(f"/api/proposals/{id}/approve", seen=commit, assertion=touch)
    lab.settle("alice")
    assert lab.card(id)["state"] == "deployed"
    assert how(lab)[id] == "passkey"

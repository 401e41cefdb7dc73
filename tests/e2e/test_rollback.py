"""A rollback is a commit with the older files on top of `main`, and runs what ran then."""

from __future__ import annotations

import pytest

from meta.errors import Conflict, NotFound
from tests.support.lab import Lab

pytestmark = [
    pytest.mark.bwrap,
    pytest.mark.lab(agents=("alice",), settings={"HIVE_HEALTH_DEADLINE": "20"}),
]


def roll_back(lab: Lab, agent: str, to: int | None = None) -> str:
    """Roll back and return the commit that runs then, which `main` has moved to from the one before."""
    before = lab.ref("refs/heads/main", agent)
    id = lab.post(f"/api/agents/{agent}/rollback", to=to)["id"]
    lab.settle(agent)
    assert lab.card(id)["state"] == "deployed"
    sha = str(lab.agent(agent)["sha"])
    assert lab.ref("refs/heads/main", agent) == sha
    assert lab.git(lab.applied(agent), "rev-parse", f"{sha}^") == before
    return sha


def tree(lab: Lab, commit: str, agent: str) -> str:
    return lab.git(lab.applied(agent), "rev-parse", f"{commit}^{{tree}}")


def test_a_rollback_goes_to_the_deploy_before_or_to_a_given_one_and_a_second_one_behind_it(lab: Lab) -> None:
    lab.spawn("erin")
    first, _ = lab.deploy('label = "1"\n', "erin"), lab.deploy('label = "2"\n', "erin")
    ran = lab.card(first["id"])["fetched_sha"]

    back = roll_back(lab, "erin")
    assert tree(lab, back, "erin") == tree(lab, ran, "erin")
    with pytest.raises(Conflict, match=f"runs the files of deployed/{first['id']} already"):
        lab.post("/api/agents/erin/rollback", to=first["id"])

    assert tree(lab, roll_back(lab, "erin"), "erin") == tree(lab, "deployed/0", "erin")
    with pytest.raises(NotFound, match="erin has nothing older"):
        lab.post("/api/agents/erin/rollback")
    with pytest.raises(NotFound, match="erin has no deployed/99"):
        lab.post("/api/agents/erin/rollback", to=99)
    assert tree(lab, roll_back(lab, "erin", to=first["id"]), "erin") == tree(lab, ran, "erin")


def test_what_runs_after_a_rollback_is_the_generation_that_ran_and_what_one_clones(lab: Lab) -> None:
    lab.spawn("ruth")
    lab.deploy('label = "good"\n', "ruth")
    good = lab.agent("ruth")["generation"]
    lab.deploy('label = "bad"\nprompt = "Be bad."\n', "ruth")
    roll_back(lab, "ruth")
    assert lab.agent("ruth")["generation"] == good

    change = lab.propose('label = "good"\nprompt = "Be kind."\n', "ruth")
    shown = lab.get(f"/api/proposals/{change}/diff")
    assert [setting[0] for setting in shown["settings"]] == ["prompt"]
    assert "bad" not in shown["patch"]
    assert lab.approve(change)["state"] == "deployed"


def test_a_rollback_during_a_deploy_is_refused_at_once_and_takes_no_id(lab: Lab) -> None:
    lab.spawn("tess")
    lab.deploy('label = "1"\n', "tess")
    flying = lab.propose('[start]\nfault = "never-hello"\n', "tess")
    lab.post(f"/api/proposals/{flying}/approve")
    lab.until(lambda: any(event["data"]["deploy"] == flying for event in lab.events("agent_started", "tess")))
    ids = [card["id"] for card in lab.get("/api/proposals", all=True, agent="tess")]
    with pytest.raises(Conflict, match=f"{flying} is being deployed: cancel it, or wait") as caught:
        lab.post("/api/agents/tess/rollback")
    assert f"hive cancel {flying}" in caught.value.hint
    assert [card["id"] for card in lab.get("/api/proposals", all=True, agent="tess")] == ids
    lab.post(f"/api/proposals/{flying}/cancel")
    lab.settle("tess")
    roll_back(lab, "tess")


def test_a_spawn_on_kept_repos_deploys_what_was_deployed_last(lab: Lab) -> None:
    lab.spawn("saul")
    lab.deploy('label = "bad"\n', "saul")
    back = roll_back(lab, "saul")
    lab.post("/api/agents/saul/destroy")
    lab.settle()
    lab.spawn("saul")
    assert lab.agent("saul")["sha"] == back

"""After a kill and a restart meta, tags, containers and store tell one story, and nothing is left over."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from meta.git import packs
from reconciler.backends.local.launch import running_supervisors
from tests.support.lab import Lab

TOLD = {"proposal": "proposal_created", "deployed": "deploy_succeeded", "failed": "deploy_failed"}
TOLD |= {"denied": "proposal_denied"}
"""State of a card -> the event that tells it, once."""


def check(lab: Lab, before: dict[str, dict[str, Any]], agent: str, stays: bool) -> None:
    """`before` are the agents' rows before the kill, `agent` the one it was about; `stays`: nor is that touched."""
    agents = lab.agents()
    for name, row in before.items():
        if name != agent or stays:
            assert agents[name]["pid"] == row["pid"], f"{name} is another process"
        if name != agent:
            assert agents[name]["phase"] == row["phase"], f"{name} is {agents[name]['phase']}"
    check_nothing_left(lab, agents)
    if agent in agents and agents[agent]["phase"] == "disagrees":
        return  # which is what the phase says: meta and tags do not agree
    cards = lab.get("/api/proposals", all=True, agent=agent, limit=1000)
    for name, row in agents.items():
        if name == agent or name == "bob":
            check_runs(lab, name, row)
    check_cards(lab, agent, cards)


def check_runs(lab: Lab, name: str, row: dict[str, Any]) -> None:
    """The agent runs what meta pins, and the tags say that it was deployed."""
    pin = json.loads(lab.git(lab.layout.meta_git, "show", "main:agents.json"))["agents"][name]["pin"]
    assert pin["id"] == row["deployed"]
    assert f"deployed/{row['deployed']}" in lab.tags(name)
    assert pin["sha"] == lab.ref(f"proposal/{row['deployed']}", name)
    if row["phase"] == "running":
        assert row["sha"] == pin["sha"]
    else:
        assert row["phase"] in ("stopped", "rollback-failed", "failed")
        assert row["pid"] is None


def check_cards(lab: Lab, agent: str, cards: list[dict[str, Any]]) -> None:
    """Every card shows its id's tags, nothing is half way, and what happened was told once."""
    tags = lab.tags(agent)
    deployed = Counter(row["id"] for row in lab.get("/api/log", limit=1000) if row["agent"] == agent)
    events = lab.get("/api/events", follow=0, limit=1000)
    told = Counter((event["kind"], event["data"].get("id")) for event in events if event["agent"] == agent)
    assert {card["id"] for card in cards} == {int(tag.partition("/")[2]) for tag in tags}
    check_objects(lab, agent, tags)
    for card in cards:
        id, state = card["id"], card["state"]
        assert state in TOLD, f"{id} is {state}"
        over = {tag for tag in tags if tag in (f"deployed/{id}", f"failed/{id}", f"denied/{id}")}
        assert over == ({f"{state}/{id}"} if state != "proposal" else set())
        if id > 0:  # a seed is marked, not told
            assert (id in deployed) == (state == "deployed")
            assert told[TOLD[state], id] <= 1, "told twice"
    newest = max(cards, key=lambda card: int(card["id"]), default=None)
    if newest is not None and newest["id"] > 0:
        assert told[TOLD[newest["state"]], newest["id"]] == 1, "not told"


def check_objects(lab: Lab, agent: str, tags: set[str]) -> None:
    """The repo is sound, and it keeps objects apart only for ids that wait or were approved."""
    repo = lab.applied(agent)
    if not repo.exists():  # purged, or not spawned yet
        return
    assert lab.git(repo, "fsck", "--full", "--no-dangling") == ""
    for id in packs.ids(repo):
        assert tags & {f"proposal/{id}", f"approved/{id}"}, f"objects of {id} are left"


def check_nothing_left(lab: Lab, agents: dict[str, dict[str, Any]]) -> None:
    """No candidate, lock, throw-away directory, record or process of what the kill cut short."""
    layout = lab.layout
    refs = lab.git(layout.meta_git, "for-each-ref", "--format=%(refname)")
    assert "candidate" not in refs
    rest(lab)
    assert leftovers(layout.state) == []
    running = {name: row["pid"] for name, row in agents.items() if row["pid"] is not None}
    supervised = [name for name, _ in running_supervisors(layout.backend("local"))]
    assert sorted(supervised) == sorted(running)


def rest(lab: Lab) -> None:
    """Wait for the end of what works beside the loop, such as the push of `main` into the push repo after a deploy.

    What a kill cut short has no end: only the next start removes it.
    """
    left: list[str] = []

    def none_is_left() -> bool:
        left[:] = short_lived(lab)
        return not left

    try:
        lab.until(none_is_left)
    except AssertionError as error:
        error.add_note(f"left: {left}")
        raise


def short_lived(lab: Lab) -> list[str]:
    """Directories, records and processes that exist only while hive does something."""
    layout = lab.layout
    files = [str(path) for folder in (layout.quarantine, layout.scratch, layout.processes) for path in folder.iterdir()]
    return files + marked(layout.owner.read_text(encoding="ascii"))


def leftovers(state: Path) -> list[Path]:
    """Files that only exist while something is being written."""
    inside = (path for folder in ("applied", "meta") for path in (state / folder).glob("**/.git/**/*"))
    locks = [path for path in inside if path.suffix == ".lock" or path.name.startswith(("tmp_", ".tmp"))]
    fresh = [path for folder in ("backend", "generations", "roots") for path in (state / folder).glob("**/.[a-z]*")]
    return locks + fresh


def marked(owner: str) -> list[str]:
    """The command lines of short-lived processes of this hive."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"HIVE_OWNER={owner}:".encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_text(encoding="utf-8", errors="replace"))
        except OSError:  # gone meanwhile, or a kernel thread
            continue
    return found

"""What the scenarios of the crash matrix do: arrange a hive, see what became of it, make it as it was."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meta.names import AgentName
from meta.proposed import push_repo
from tests.crash.cell import Act, Cell
from tests.support.lab import Lab

MUTE = '[start]\nfault = "never-hello"\n'
EXITS = "[start]\nexit = 3\n"
BROKEN = "runtime = 3\n"


def good(cell: Cell) -> str:
    """Settings that are new each time, so that no commit comes twice."""
    return f'label = "{cell.scenario.name} {cell.failpoint}"\n'


# what was seen
def card(cell: Cell) -> str:
    """What became of the proposal, and of the agent unless that simply runs."""
    words = [_state(cell)]
    row = cell.row
    if row is None or row["phase"] != "running":
        words.append("destroyed" if row is None else str(row["phase"]))
    return ", ".join(words)


def _state(cell: Cell) -> str:
    cards = {each["id"]: str(each["state"]) for each in cell.lab.get("/api/proposals", all=True, agent=cell.agent)}
    if cell.id is None:
        cell.id = max((id for id in cards if id > cell.newest), default=None)
    state = "no proposal" if cell.id is None else cards[cell.id]
    return "pending" if state == "proposal" else state


def spawned(cell: Cell) -> str:
    """Whether there is the agent, or a proposal to make it."""
    cards = cell.lab.get("/api/proposals", all=True, agent=cell.agent)
    states = [str(each["state"]) for each in cards if each["id"] == (cell.id or each["id"])]
    row = cell.row
    if row is not None and row["desired"] == "running":
        return str(row["phase"])
    return "no agent" if not states else "pending" if "proposal" in states else states[0]


def phase(cell: Cell) -> str:
    row = cell.row
    return "destroyed" if row is None else str(row["phase"])


def process(cell: Cell) -> str:
    """Whether it is another process than before."""
    return phase(cell) if phase(cell) != "running" else "restarted" if _pid(cell) != _old_pid(cell) else "as before"


def crashes(cell: Cell) -> str:
    """`process`, and how many crashes were counted."""
    return f"{process(cell)}, {cell.row['crashes'] if cell.row else '?'} counted"


def gone(cell: Cell) -> str:
    """What is left of the agent."""
    cards = cell.lab.get("/api/proposals", all=True, agent=cell.agent)
    if cell.row is None:
        return "destroyed" if cards else "purged"
    ended = all(each["state"] not in ("proposal", "approved", "building") for each in cards)
    return "as before, its open ids ended" if ended else "as before"


def _pid(cell: Cell) -> int | None:
    row = cell.row
    return row["pid"] if row else None


def _old_pid(cell: Cell) -> int | None:
    return cell.before[cell.agent]["pid"]  # type: ignore[no-any-return]


# what is arranged
def propose(cell: Cell) -> Act:
    clone = cell.lab.commit(good(cell))
    return lambda: cell.lab.post("/api/proposals", agent="alice", source=str(clone))


def push_again(cell: Cell) -> Act:
    """A push over a branch whose proposal waits."""
    push(cell, "one")
    cell.id = cell.lab.until(lambda: max((each["id"] for each in waiting(cell)), default=None))
    return lambda: push(cell, "two")


def push(cell: Cell, text: str) -> None:
    clone = cell.lab.commit(f'label = "{cell.scenario.name} {cell.failpoint} {text}"\n', cell.agent)
    where = push_repo.path_of(cell.lab.layout, AgentName(cell.agent))
    cell.lab.git(clone, "push", "-q", "-f", str(where), "HEAD:refs/heads/again")


def waiting(cell: Cell) -> list[dict[str, Any]]:
    return list(cell.lab.get("/api/proposals", agent=cell.agent))


def superseded(cell: Cell) -> str:
    """What became of the older of two, once the newer one waits alone. Rest does not wait for who looks at pushes."""
    cell.lab.until(lambda: [each["id"] > (cell.id or 0) for each in waiting(cell)] == [True])
    cell.lab.settle()  # the newer one's preview
    return _state(cell)


def outdate(cell: Cell) -> Act:
    """One agent was built with another hive, and what is so is rebuilt."""
    (path,) = cell.lab.layout.roots(AgentName(cell.agent)).glob(f"{cell.lab.agent(cell.agent)['deployed']}.json")
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"revision": "older"}), encoding="utf-8")
    fresh.rename(path)
    cell.lab.until(lambda: cell.lab.agent(cell.agent)["built_with"] == "older")
    return lambda: cell.lab.post("/api/rebuild-all", only_stale=True)


def approve(cell: Cell, text: str) -> Act:
    cell.id = cell.lab.propose(text, cell.agent)
    return lambda: cell.lab.post(f"/api/proposals/{cell.id}/approve")


def deny(cell: Cell) -> Act:
    cell.id = cell.lab.propose(good(cell))
    return lambda: cell.lab.post(f"/api/proposals/{cell.id}/deny", reason="no")


def in_gate(cell: Cell, verb: str) -> Act:
    """A deploy that waits for a harness which never says hello, and then something else is asked for."""
    if cell.agent != "alice":
        cell.lab.spawn(cell.agent)
    approve(cell, MUTE)()
    cell.lab.until(lambda: _waits(cell.lab.get("/api/plan", agent=cell.agent)))
    path = f"/api/proposals/{cell.id}/cancel" if verb == "cancel" else f"/api/agents/{cell.agent}/{verb}"
    return lambda: cell.lab.post(path)


def _waits(rows: list[dict[str, Any]]) -> bool:
    return [row["step"] for row in rows] == ["wait"]


def rollback(cell: Cell) -> Act:
    cell.lab.deploy(good(cell))  # after a rollback there may be nothing older
    return lambda: cell.lab.post("/api/agents/alice/rollback")


def spawn(cell: Cell) -> Act:
    return lambda: cell.lab.post(f"/api/agents/{cell.agent}/spawn")


def request(cell: Cell) -> Act:
    return lambda: cell.lab.post(f"/api/agents/{cell.agent}/request-spawn")


def grant(cell: Cell) -> Act:
    cell.id = int(cell.lab.post(f"/api/agents/{cell.agent}/request-spawn")["id"])
    return lambda: cell.lab.post(f"/api/proposals/{cell.id}/approve")


def kill(cell: Cell) -> Act:
    pid = cell.lab.agent(cell.agent)["pid"]
    return lambda: os.kill(pid, signal.SIGKILL)


def kill_and_forget(cell: Cell) -> Act:
    set_crash_reset(cell, "0.1")
    return kill(cell)


def set_crash_reset(cell: Cell, seconds: str) -> None:
    cell.lab.settings["HIVE_CRASH_RESET"] = seconds
    cell.lab.kill()
    cell.lab.start()
    cell.lab.settle()


def spoilt(cell: Cell) -> Act:
    """The old generation ends at its next start, so that the rollback to it fails as well."""
    cell.lab.spawn(cell.agent)
    (cell.lab.layout.agent_state(AgentName(cell.agent)) / "exit").write_text("3", encoding="ascii")
    return approve(cell, EXITS)


def older_meta(cell: Cell) -> Act:
    """Meta restored from a backup that was made before the last deploy; the operator goes with what runs."""
    lab = cell.lab
    if not cell.row:
        lab.spawn(cell.agent)
    with restored(lab.layout.meta, lab):
        lab.deploy(good(cell), cell.agent)
    return verb(cell, "adopt", side="running")


@contextlib.contextmanager
def restored(directory: Path, lab: Lab) -> Iterator[None]:
    """What is done inside is undone in `directory`, as by a restore from a backup while no daemon runs."""
    backup = lab.directory / "backup"
    shutil.rmtree(backup, ignore_errors=True)
    shutil.copytree(directory, backup, symlinks=True)
    yield
    lab.kill()
    shutil.rmtree(directory)
    shutil.copytree(backup, directory, symlinks=True)
    lab.start()
    lab.settle()


def verb(cell: Cell, name: str, **body: object) -> Act:
    return lambda: cell.lab.post(f"/api/agents/{cell.agent}/{name}", **body)


def end(cell: Cell, *, purge: bool) -> Act:
    """Destroy an agent that has an open proposal."""
    cell.lab.spawn(cell.agent)
    cell.lab.propose(good(cell), cell.agent)
    return verb(cell, "destroy", purge=purge)


# what the host's configuration declares
def declare(lab: Lab, **agents: str) -> None:
    """Switch the host to a generation that declares these agents, each with the text of its agent.toml."""
    file = lab.directory / "declared.json"
    content = {"version": 1, "agents": {name: {"settings": text} for name, text in agents.items()}}
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content), encoding="utf-8")
    new.chmod(0o644)
    new.rename(file)
    if "HIVE_DECLARED" not in lab.settings:
        lab.settings["HIVE_DECLARED"] = str(file)
        lab.kill()
        lab.start()


def standing(cell: Cell) -> str:
    return "" if cell.row is None else str(cell.row["declared"])


def declared(cell: Cell) -> None:
    """Declare the agent as git has it."""
    present = cell.lab.git(cell.lab.applied(cell.agent), "show", "main:agent.toml")
    declare(cell.lab, **{cell.agent: f"{present}\n"})
    cell.lab.until(lambda: standing(cell) == "agrees")


def declare_anew(cell: Cell) -> Act:
    """A generation of the host that declares another agent.toml."""
    declared(cell)
    return lambda: declare(cell.lab, **{cell.agent: good(cell)})


def declare_no_more(cell: Cell) -> Act:
    """Remove the declaration of an agent that came with it."""
    declare(cell.lab, **{cell.agent: good(cell)})
    cell.lab.until(lambda: standing(cell) == "agrees")
    return lambda: declare(cell.lab)


def declare_first(cell: Cell) -> Act:
    declare(cell.lab)
    return lambda: declare(cell.lab, **{cell.agent: good(cell)})


def dropped(cell: Cell) -> str:
    """What runs, and how the declaration stands."""
    return f"{phase(cell)}, {standing(cell)}"


# how it is made as it was
def keep(cell: Cell) -> None:
    """Take the agent out of the configuration: git alone has it then, as before it was declared."""
    declare(cell.lab)
    cell.lab.until(lambda: standing(cell) == "")


def purge_removed(cell: Cell) -> None:
    """Purge an agent that is declared no more, so that the next declaration brings it anew."""
    declare(cell.lab)
    cell.lab.until(lambda: standing(cell) in ("", "removed"))
    purge(cell)


def undeclare(cell: Cell) -> None:
    declare(cell.lab)
    cell.lab.until(lambda: standing(cell) in ("", "removed"))
    complete(cell)


def deny_pending(cell: Cell) -> None:
    for each in cell.lab.get("/api/proposals", agent=cell.agent):
        cell.lab.post(f"/api/proposals/{each['id']}/deny", reason="over")


def complete(cell: Cell) -> None:
    """Whatever was left of a spawn, `hive spawn` completes it."""
    if cell.row is None:
        cell.lab.spawn(cell.agent)
    purge(cell)


def purge(cell: Cell) -> None:
    if gone(cell) != "purged":
        cell.lab.do(cell.agent, "destroy", purge=True)
    clone = cell.lab.directory / "w" / cell.agent
    if clone.exists():
        clone.rename(clone.with_name(f"old-{cell.agent}-{len(list(clone.parent.iterdir()))}"))


def update(cell: Cell) -> None:
    if cell.lab.agent(cell.agent)["built_with"]:
        cell.lab.do(cell.agent, "rebuild")


def start(cell: Cell) -> None:
    """Also forgets what was counted."""
    cell.lab.do(cell.agent, "start")


def remember(cell: Cell) -> None:
    set_crash_reset(cell, "600")

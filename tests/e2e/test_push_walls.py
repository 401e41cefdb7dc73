"""What the manager writes in its sandbox never runs on the host when people push: as root and as an ordinary user.

The manager's real sandbox is entered by `hive shell`. The hooks here are harmless: they make one file.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meta.names import AgentName
from tests.support.as_user import run_tests_as_user
from tests.support.lab import Lab

ALICE = AgentName("alice")
PYTHON = [sys.executable, "-m", "api.cli.main"]

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice",), settings={"HIVE_RESYNC": "1"})]

PLANT = """
for repo in $(find /agents /state /home /run/hive /applied /meta -name '*.git' -o -name .git 2>/dev/null) "$@"; do
    mkdir -p "$repo/hooks" 2>/dev/null || continue
    for hook in pre-receive update post-receive reference-transaction; do
        printf '#!/bin/sh\\ntouch "%s"\\n' "$MARK" >"$repo/hooks/$hook" && chmod 755 "$repo/hooks/$hook"
    done
    printf '[core]\\n\\tbare = true\\n\\thooksPath = hooks\\n' >"$repo/config"
done 2>/dev/null
true
"""


def in_manager(lab: Lab, script: str, *words: str) -> subprocess.Popen[str]:
    """A shell script in the manager's sandbox, as the manager."""
    program = ["sh", "-c", f"MARK='{lab.directory}/ran'\n{script}", "sh", *words]
    where = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
    return subprocess.Popen(
        [*PYTHON, "shell", "manager", *where, "--", *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(lab: Lab, script: str, *words: str) -> str:
    """What such a script writes."""
    out, err = in_manager(lab, script, *words).communicate(timeout=30)
    assert not err, err
    return out


def push(lab: Lab, branch: str) -> str:
    """Do the documented push, as the operator; the commit."""
    clone = lab.commit(f'label = "{branch}"\n')
    lab.git(clone, "push", "-q", str(lab.layout.state / "push" / "alice.git"), f"HEAD:{branch}")
    return lab.git(clone, "rev-parse", "HEAD")


def card_of(lab: Lab, sha: str) -> None:
    """Wait for the card of a commit."""
    lab.until(lambda: any(card["fetched_sha"] == sha for card in lab.get("/api/proposals", all=1, agent="alice")))


def ran(lab: Lab) -> bool:
    """Whether a planted hook ran on the host."""
    return (lab.directory / "ran").exists()


def move_back(lab: Lab) -> Path:
    """Put alice's push repo where an older hive had it; no daemon may run."""
    old = lab.layout.proposed(ALICE) / "push.git"
    (lab.layout.state / "push" / "alice.git").rename(old)
    for path in (old, *old.rglob("*")):
        assert path.lstat().st_uid == os.geteuid()
    return old


def doctor(lab: Lab) -> dict[str, str]:
    """The findings of `proposed`, with their remedies."""
    rows = json.loads(lab.hive("doctor", "--json").out)["checks"]
    return {
        row["text"]: row["remedy"]
        for row in rows
        if row["check"] == "proposed" and str(lab.layout.state) in row["text"]
    }


def test_the_manager_sees_work_trees_only_and_a_push_runs_nothing_that_it_wrote(lab: Lab) -> None:
    assert output(lab, "ls -A /agents/*").split() == [
        *("/agents/alice:", "applied.git", "config"),
        *("/agents/manager:", "applied.git", "config"),
    ]
    output(lab, PLANT, "/agents/alice/push.git", "/push/alice.git", f"{lab.layout.state}/push/alice.git")
    card_of(lab, push(lab, "topic"))
    assert not ran(lab)


def test_what_the_manager_puts_at_the_old_address_is_named_and_set_aside_at_the_next_start(lab: Lab) -> None:
    old = lab.layout.proposed(ALICE) / "push.git"
    output(lab, PLANT, "/agents/alice/push.git")
    if os.geteuid() == 0:
        assert not old.exists(), "proposed/<n> is root's"
        return
    lab.until(lambda: any(f"{old} is not hive's" in line for line in lab.agent("alice")["conditions"]))
    assert any(f"{old} is not hive's" in text for text in doctor(lab))
    lab.kill()
    lab.start()
    assert not os.path.lexists(old)
    assert any("is not used" in line for line in lab.agent("alice")["conditions"])
    card_of(lab, push(lab, "after"))
    assert not ran(lab)
    for path in (lab.layout.state / "push" / "aside").iterdir():
        shutil.rmtree(path)


def test_a_push_repo_of_an_older_hive_moves_with_its_branches_away_from_a_manager_that_has_it_open(lab: Lab) -> None:
    kept = push(lab, "kept")
    card_of(lab, kept)
    plant = "echo up; read -r _; cd /agents/alice/push.git; echo in; read -r _\n set -- .\n" + PLANT
    with in_manager(lab, plant) as holding:
        assert holding.stdin is not None
        assert holding.stdout is not None
        assert holding.stdout.readline() == "up\n"
        lab.stop()
        old = move_back(lab)
        holding.stdin.write("go in\n")
        holding.stdin.flush()
        assert holding.stdout.readline() == "in\n"
        lab.start()
        assert not os.path.lexists(old)
        holding.communicate("now\n", timeout=30)
    repo = lab.layout.state / "push" / "alice.git"
    assert lab.git(repo, "-c", "safe.directory=*", "rev-parse", "kept") == kept
    before = len(lab.get("/api/proposals", all=1, agent="alice"))
    card_of(lab, push(lab, "later"))
    assert len(lab.get("/api/proposals", all=1, agent="alice")) == before + 1, "what was seen is not proposed again"
    assert not ran(lab)
    assert not doctor(lab)


def test_a_changed_push_repo_of_an_older_hive_is_set_aside_and_named_with_the_remedy(lab: Lab) -> None:
    lab.stop()
    old = move_back(lab)
    (old / "hooks").mkdir()
    lab.start()
    assert not os.path.lexists(old)
    aside = next((lab.layout.state / "push" / "aside").iterdir())
    (text,) = [line for line in lab.agent("alice")["conditions"] if str(aside) in line]
    assert "hooks" in text
    assert str(lab.layout.state / "push" / "alice.git") in text
    assert any(str(aside) in found for found in doctor(lab))
    lab.settle("alice")
    card_of(lab, push(lab, "fresh"))
    shutil.rmtree(aside)
    assert not lab.agent("alice")["conditions"]


def test_nothing_is_read_from_a_push_repo_that_is_not_as_hive_made_it(lab: Lab) -> None:
    repo = lab.layout.state / "push" / "alice.git"
    (repo / "objects/info/alternates").write_text("/elsewhere\n", encoding="ascii")
    lab.until(lambda: any("objects/info/alternates" in line for line in lab.agent("alice")["conditions"]))
    assert any("objects/info/alternates" in text for text in doctor(lab))
    assert lab.hive("doctor").code != 0
    repo.rename(lab.directory / "away")
    lab.settle("alice")
    card_of(lab, push(lab, "anew"))
    lab.until(lambda: not lab.agent("alice")["conditions"])


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become an ordinary user")
def test_all_of_it_holds_for_an_ordinary_user() -> None:
    wanted = "(test_push_walls or took_away) and not ordinary_user"
    done = run_tests_as_user(__file__, "tests/meta/proposed/test_push_move.py", "-k", wanted)
    assert done.returncode == 0, done.stdout[-6000:]
    assert "6 passed" in done.stdout

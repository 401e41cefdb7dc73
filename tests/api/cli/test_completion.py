"""Completions, as each shell asks for them: a program with variables, and what it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer

from api.cli.client import completion
from api.cli.main import parser
from meta.names import AgentName

if TYPE_CHECKING:
    from tests.api.conftest import Hive

HOSTILE = "adds jq `touch /tmp/x` \\$(touch /tmp/y) 'q' \"d\" [/bold] \x1b[2J\nmore"


async def bash(hive: Hive, line: str) -> list[str]:
    words = line.split(" ")
    variables = {"_HIVE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return (await completed(hive, **variables)).split()


async def completed(hive: Hive, **variables: str) -> str:
    process = await hive.program("-m", "api.cli.main", **variables)
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b""), err
    return out.decode()


async def test_names_and_ids_complete_as_the_command_needs_them(hive: Hive) -> None:
    hive.fake.add(description="adds jq")
    hive.fake.add(status="failed", state="failed")
    hive.fake.add(status="approved", state="deployed")
    hive.fake.add(status="approved", state="approved")
    hive.fake.add(AgentName("manager"), status="approved", state="deployed")
    assert {
        line: await bash(hive, line)
        for line in (
            "hive stop a",
            "hive approve ",
            "hive deny ",
            "hive retry ",
            "hive cancel ",
            "hive rollback alice ",
            "hive rollback manager ",
            "hive diff ",
            "hive diff 2",
            "hive diff alice 3..",
            "hive history m",
            "hive edit alice --from ",
            "hive approve --agent man",
            "hive logs nobody",
        )
    } == {
        "hive stop a": ["alice"],
        "hive approve ": ["1"],
        "hive deny ": ["1"],
        "hive retry ": ["2"],
        "hive cancel ": ["4"],
        "hive rollback alice ": ["3"],
        "hive rollback manager ": ["5"],
        "hive diff ": ["alice", "manager", "1"],
        "hive diff 2": ["2"],
        "hive diff alice 3..": ["3..4", "3..3", "3..2", "3..1"],
        "hive history m": ["manager"],
        "hive edit alice --from ": ["5", "4", "3", "2", "1"],
        "hive approve --agent man": ["manager"],
        "hive logs nobody": [],
    }


async def test_commands_complete_without_a_daemon(pods: Hive) -> None:
    assert await bash(pods, "hive hist") == ["history"]


@pytest.mark.parametrize("line", ["hive stop ", "hive approve ", "hive diff alice 1..", "hive rollback alice "])
async def test_without_a_daemon_a_completion_is_empty_and_says_nothing(pods: Hive, line: str) -> None:
    assert await bash(pods, line) == []


async def test_fish_gets_values_with_what_they_are(hive: Hive) -> None:
    hive.fake.add(description="adds jq")
    asked = {"_HIVE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert await completed(hive, **asked, _TYPER_COMPLETE_ARGS="hive approve ") == "1\talice pending, adds jq\n"


async def test_zsh_evaluates_nothing_that_an_agent_wrote(hive: Hive) -> None:
    hive.fake.add(description=HOSTILE)
    out = await completed(hive, _HIVE_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="hive approve ")
    words = "alice pending, adds jq touch /tmp/x touch /tmp/y q d /bold 2J"
    assert out == f"""_arguments '*: :(("1":"{words}"))'\n"""


async def test_a_completion_never_waits_long_for_rich(hive: Hive) -> None:
    asked = {"_HIVE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    process = await hive.program("-m", "tests.support.heavy_imports", **asked, _TYPER_COMPLETE_ARGS="hive stop ")
    out, err = await process.communicate()
    assert (out.decode().splitlines()[-1], err) == ("HEAVY []", b"")


def test_grants_groups_hosts_and_repos_of_an_agent_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    reach = [
        {"rule": "a.example", "source": "grant", "until": 5},
        {"rule": "pypi.org", "source": "@python", "until": None},
    ]
    refused = [{"rule": rule, "count": 2} for rule in ("git.example.org:22", "evil`x`")]
    view = {"reach": reach, "refused": refused, "requests": [{"id": 3, "host": "crates.io", "why": "to `build`"}]}
    monkeypatch.setattr(completion, "_rows", lambda *_: [view])
    repos = [{"path": "tools", "state": "ready"}, {"path": "$(x)", "state": "failed"}]
    monkeypatch.setattr(completion, "_agents", lambda _: [{"agent": "alice", "workspaces": repos}])
    context = typer.Context(parser())
    context.params = {"agent": "alice"}
    assert completion.granted(context, [], "") == [("a.example", "for a time")]
    assert completion.groups(context, [], "py") == [("python", "")]
    assert completion.workspaces(context, [], "") == [("tools", "ready")]
    assert completion.wanted(context, [], "") == [("3", "crates.io to build"), ("git.example.org:22", "2 times")]
    monkeypatch.setenv("_HIVE_COMPLETE", "complete_zsh")  # it takes what follows a colon for a description
    assert completion.wanted(context, [], "") == [("3", "crates.io to build")]


async def test_runtimes_complete_without_a_daemon(hive: Hive) -> None:
    found = await bash(hive, "hive spawn bob --runtime c")
    assert found == ["claude", "codex", "claude-acp"]

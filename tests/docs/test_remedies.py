"""Every command that hive prints works when it is pasted: names that others choose are quoted, or behind a prefix."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.applied.source import Source, SourceKind
from meta.names import AgentName, Sha
from meta.proposed.tips import Tip
from meta.text import command_line
from reconciler.proposals.staleness import rebase_hint
from reconciler.proposals.tips import NewTip

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(
    r"`(?:sudo |\. )?(?:hive|git|rm|chown|chmod|mv|umount|cd|export)\b[^`]*`"
    r"|\b(?:rm -rf|chown -R|chmod [ugo0-9«]|git --git-dir|git -C|sudo -u|hive [a-z-]+ --state)[^`)]*"
)
SAFE = re.compile(
    r"command_line\(.*\)|(?:\w+\.)*_?(?:agent|name|id|owner|proven|oldest|new|audit|remove|again|command|onto|chown|point)"
    r"|(?:ids|mine)\[0\]|(?:asked|card|row)\['id'\]|client\.where\.serve_command\(\)"
)
"""Names of agents and ids, which are checked when they come in and need no quotes, and commands made already."""
ODD = ("-d", "--force", "@", "a;b", "$(x)", "it's", "täg", "a`b", "#1", "&", "-", "HEAD", "refs/heads/x", "a/-b")
PATHS = (Path("/var/lib/a  b/push.git"), Path("/tmp/it's;x/p.git"), Path("/-d/p.git"))


def printed() -> Iterator[tuple[str, str, str]]:
    """Yield each expression in a command in an f-string of the source: where, the expression, the command."""
    for package in ("meta", "reconciler", "api", "harness"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    text = "".join(map(part, node.values))
                    where = f"{file.relative_to(ROOT)}:{node.lineno}"
                    for found in COMMAND.finditer(text):
                        yield from ((where, each, found[0]) for each in re.findall("«(.*?)»", found[0]))


def part(value: ast.expr) -> str:
    if isinstance(value, ast.FormattedValue):
        return f"«{ast.unparse(value.value)}»"
    return str(value.value) if isinstance(value, ast.Constant) else ""


def test_no_command_has_a_value_that_a_shell_could_take_apart() -> None:
    everything = list(printed())
    assert len(everything) > 50
    assert [(where, value, text) for where, value, text in everything if not SAFE.fullmatch(value)] == []


@pytest.mark.parametrize("word", [*ODD, *map(str, PATHS), "", "a\nb", "\\"])
def test_a_command_line_is_read_as_the_words_that_it_was_made_of(word: str) -> None:
    assert shlex.split(command_line("git", word, 7)) == ["git", word, "7"]


def commands(text: str) -> list[list[str]]:
    """The words of each command in backticks, as a shell reads them. Names may hold backticks."""
    return [shlex.split(each) for found in re.findall(r"`(.*)`", text) for each in found.split(" && ")]


@pytest.mark.parametrize("branch", ODD)
@pytest.mark.parametrize("path", PATHS)
def test_the_remedy_of_a_refused_branch_names_exactly_that_branch(branch: str, path: Path) -> None:
    tip = Tip(branch, Sha("1" * 40), None)
    agent = AgentName("alice")
    pushed = NewTip(Source.of(SourceKind.PUSH, branch), tip).remedy(agent, path)
    assert commands(pushed) == [["git", "push", str(path), f":refs/heads/{branch}"]]
    (words,) = commands(NewTip(Source.of(SourceKind.WORK_TREE, branch), tip).remedy(agent, path))
    assert words[-3:] == ["update-ref", "-d", f"refs/heads/{branch}"]
    (fetch, _) = commands(rebase_hint(agent, Source.of(SourceKind.PUSH, branch), path).partition(" in the")[0])
    assert fetch == ["git", "fetch", str(path), "main"]


@pytest.mark.parametrize("branch", ["-d", "@", "a;b"])
def test_git_takes_the_remedy_of_an_odd_branch(tmp_path: Path, branch: str) -> None:
    """git refuses some of these names in its own commands, and keeps them in a repo all the same."""
    repo = tmp_path / "a  b" / "push.git"
    subprocess.run(["git", "init", "-q", "--bare", str(repo)], check=True)
    git = ["git", "--git-dir", str(repo), "-c", "user.name=x", "-c", "user.email=x@x"]
    tree = subprocess.run([*git, "mktree"], input=b"", capture_output=True, check=True).stdout.decode().strip()
    commit = subprocess.run([*git, "commit-tree", "-m", "x", tree], capture_output=True, check=True).stdout.decode()
    (repo / "refs/heads" / branch).write_text(commit)
    tip = Tip(branch, Sha(commit.strip()), None)
    remedy = NewTip(Source.of(SourceKind.PUSH, branch), tip).remedy(AgentName("alice"), repo)
    shell = re.findall(r"`(.*)`", remedy)[0]
    done = subprocess.run(["sh", "-c", shell], cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (repo / "refs/heads" / branch).exists()

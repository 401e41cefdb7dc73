"""`[[workspace]]` of agent.toml: only URLs that fetch, names of branches, and folders of their own."""

from __future__ import annotations

import json

import pytest

from meta.agent_toml.changes import describe_changes
from meta.agent_toml.settings import flatten, parse_settings
from meta.agent_toml.workspace import Workspace, remote_of
from meta.errors import BadInput


def parse(*rows: dict[str, str]) -> list[Workspace]:
    return parse_settings(text(*rows)).workspace


def text(*rows: dict[str, str]) -> bytes:
    tables = ("".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items()) for row in rows)
    return "".join(f"[[workspace]]\n{table}" for table in tables).encode()


@pytest.mark.parametrize(
    ("url", "path", "remote"),
    [
        ("https://git.example.org/team/tools.git", "tools", ("git.example.org", 443)),
        ("https://git.example.org:8443/tools/", "tools", ("git.example.org", 8443)),
        ("ssh://git@Git.example.org/team/tools", "tools", ("git.example.org", 22)),
        ("ssh://git.example.org:2222/~me/x.git", "x", ("git.example.org", 2222)),
        ("git@git.example.org:tools.git", "tools", ("git.example.org", 22)),
        ("git@git.example.org:team/tools.git", "tools", ("git.example.org", 22)),
        ("https://[2001:db8::1]/x", "x", ("2001:db8::1", 443)),
    ],
)
def test_the_path_is_the_last_part_of_the_url(url: str, path: str, remote: tuple[str, int]) -> None:
    assert parse({"url": url})[0].path == path
    assert remote_of(url) == remote


@pytest.mark.parametrize(
    "url",
    [
        "http://git.example.org/x",
        "git://git.example.org/x",
        "file:///etc",
        "/etc",
        "../x",
        "ext::sh -c id",
        "ext::sh",
        "transport::https://a/b",
        "--upload-pack=id",
        "-x@git.example.org:y",
        "git@-oProxyCommand=id:x",
        "ssh://-oProxyCommand=id/x",
        "git@git.example.org:-x",
        "https://me:word@git.example.org/x",
        "https://me@git.example.org/x",
        "ssh://git:word@git.example.org/x",
        "https://git.example.org/x y",
        "https://git.example.org/x\ny",
        "https://git.example.org/x%0ahost=evil",
        "https://git.example.org/x#y",
        "https://git.example.org",
        "https://0x7f.1/x",
        "https://127.1/x",
        "https://git.example.org:99999/x",
        "https://git..example/x",
        "https://git.example.org/" + "x" * 1000,
        "https://git.example.org/ghp_" + "a1B2" * 9,
    ],
)
def test_a_url_that_is_no_remote_repo_or_has_a_login_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match=r"workspace\[0\].url"):
        parse({"url": url, "path": "x"})


@pytest.mark.parametrize("branch", ["main", "feature/one", "v1.2", "a@b", "release-2026"])
def test_a_branch_is_taken(branch: str) -> None:
    assert parse({"url": "https://a.example/x", "branch": branch})[0].branch == branch


@pytest.mark.parametrize(
    "branch",
    [
        *[
            "-x",
            "--all",
            "a..b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "a@{1}",
            "a//b",
            "/a",
            "a/",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a.",
            "@",
            "HEAD",
            "ä",
        ],
        "a b",
        "a\nb",
        "x" * 201,
    ],
)
def test_what_git_takes_for_something_else_is_no_branch(branch: str) -> None:
    with pytest.raises(BadInput, match=r"workspace\[0\].branch"):
        parse({"url": "https://a.example/x", "branch": branch})


@pytest.mark.parametrize(
    "path",
    [
        *[
            "/x",
            "..",
            "../x",
            "x/../../y",
            "x/..",
            ".",
            "./x",
            "x//y",
            "x/",
            "-x",
            "x/-y",
            "~",
            ".git",
            "x/.GIT",
            "x\\y",
            "ä",
        ],
        "x y",
        "x\ny",
        "x" * 201,
    ],
)
def test_a_path_stays_below_the_folder_of_workspaces(path: str) -> None:
    with pytest.raises(BadInput, match=r"workspace\[0\].path"):
        parse({"url": "https://a.example/x", "path": path})


def test_a_url_whose_last_part_is_no_path_needs_one() -> None:
    with pytest.raises(BadInput, match="is missing, and '~x'"):
        parse({"url": "https://a.example/~x"})
    assert parse({"url": "https://a.example/~x", "path": "team/x"})[0].path == "team/x"


@pytest.mark.parametrize(("one", "other"), [("x", "x"), ("x", "X"), ("x", "x/y"), ("a/b/c", "a/b")])
def test_no_workspace_is_in_the_folder_of_another(one: str, other: str) -> None:
    with pytest.raises(BadInput, match="a path of its own"):
        parse({"url": "https://a.example/1", "path": one}, {"url": "https://a.example/2", "path": other})


def test_folders_with_a_common_beginning_are_apart() -> None:
    rows = [{"url": "https://a.example/r", "path": path} for path in ("x", "x-y", "x.z", "a/b", "a/c")]
    assert len(parse(*rows)) == 5


def test_there_are_at_most_16() -> None:
    rows = [{"url": f"https://a.example/r{n}"} for n in range(17)]
    assert len(parse(*rows[:16])) == 16
    with pytest.raises(BadInput, match="at most 16 entries"):
        parse(*rows)


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match="unknown key") as error:
        parse({"url": "https://a.example/x", "depth": "1"})
    assert error.value.hint == "known in [workspace[0]]: url, branch, path"


def test_its_values_are_shown_flat_with_the_path_that_it_gets() -> None:
    flat = flatten(parse_settings(text({"url": "https://a.example/x"})))
    assert {key: value for key, value in flat.items() if key.startswith("workspace")} == {
        "workspace[0].url": "https://a.example/x",
        "workspace[0].path": "x",
    }


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            [],
            [{"url": "https://a.example/x", "branch": "main"}],
            ['workspace "x": new, "https://a.example/x" at branch "main" is cloned at the next start, and then '
             "left alone"],
        ),
        (
            [{"url": "https://a.example/x"}],
            [{"url": "https://b.example/x"}],
            ['workspace "x": "https://a.example/x" -> "https://b.example/x"; what is cloned already is left alone'],
        ),
        (
            [{"url": "https://a.example/x"}, {"url": "https://a.example/y"}],
            [{"url": "https://a.example/y"}],
            ['workspace "x": no longer named; what is cloned stays with the agent'],
        ),
        ([{"url": "https://a.example/x"}], [{"url": "https://a.example/x", "path": "x"}], []),
    ],
)  # fmt: skip
def test_a_change_is_told_by_the_path(
    before: list[dict[str, str]], after: list[dict[str, str]], words: list[str]
) -> None:
    old, new = (flatten(parse_settings(text(*rows))) for rows in (before, after))
    assert describe_changes(old, new) == words


def test_a_new_agent_shows_its_workspaces() -> None:
    texts = describe_changes({}, flatten(parse_settings(text({"url": "https://a.example/x"}))))
    assert texts[0].startswith("runtime") and texts[1].startswith('workspace "x": new')

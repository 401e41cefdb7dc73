"""The view of an agent's way out."""

from __future__ import annotations

from meta.network.operator_file import parse_operator_file
from reconciler.queries.network import git_keys

FILE = """
[credentials.model]
kind = "anthropic"
file = "/k/model"
[credentials.team]
kind = "git"
upstream = "https://git.example.org"
file = "/k/team"
[credentials.hub]
kind = "git"
file = "/k/hub"
"""


def test_the_keys_by_which_git_reaches_its_repos_are_those_of_the_agent_of_kind_git_in_the_files_order() -> None:
    file = parse_operator_file(FILE.encode(), "network.toml")
    assert git_keys(file, {"model", "hub"}) == {"hub": "https://github.com"}
    assert list(git_keys(file, {"model", "hub", "team"})) == ["team", "hub"]

"""Workspaces and MCP servers whose host the agent may not reach."""

from __future__ import annotations

import pytest

from meta.agent_toml.settings import flatten, parse_settings
from meta.agent_toml.unreachable import describe_unreachable

WORKSPACES = """[[workspace]]
url = "https://a.example/x"
[[workspace]]
url = "git@b.example:y"
[[workspace]]
url = "https://[2001:db8::1]:8443/z"
"""


def lines(text: str, *reachable: tuple[str, int]) -> list[str]:
    return describe_unreachable(flatten(parse_settings(text.encode())), lambda host, port: (host, port) in reachable)


def test_each_workspace_is_judged_by_the_host_and_port_of_its_url() -> None:
    assert lines(WORKSPACES, ("b.example", 22)) == [
        'UNREACHABLE: workspace "x": the agent may not reach a.example:443',
        'UNREACHABLE: workspace "z": the agent may not reach [2001:db8::1]:8443',
    ]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://MCP.example/mcp", "mcp.example:443"),
        ("https://mcp.example.:8443", "mcp.example:8443"),
        ("https://a..b", "a..b:443"),
        ("http://localhost:8080", None),
        ("http://127.0.0.1:8080", None),
        ("http://[::1]:8080", None),
    ],
)
def test_a_server_that_is_not_in_the_agent_is_judged_likewise(url: str, place: str | None) -> None:
    expected = [] if place is None else [f"UNREACHABLE: mcp_servers.wiki: the agent may not reach {place}"]
    assert lines(f'mcp_servers.wiki.url = "{url}"') == expected


def test_a_server_that_is_a_program_needs_no_host() -> None:
    assert lines('mcp_servers.files.command = ["files"]') == []

"""The MCP servers of agent.toml as a runtime gets them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.runtimes.base import Enclosure
from harness.runtimes.servers import CREDENTIAL_BYTES, usable_servers
from meta.agent_toml.settings import AgentSettings, McpServer
from tests.harness.runtimes.acp.conftest import Seen

HEADERS = {"Authorization": "Bearer ${wiki-token}"}
SERVERS = {"wiki": {"url": "https://wiki.example.org/mcp", "headers": HEADERS}, "files": {"command": ["files-mcp"]}}
SETTINGS = AgentSettings.model_validate({"runtime": "claude", "mcp_servers": SERVERS})


def servers(folder: Path | None, seen: Seen) -> dict[str, McpServer]:
    return usable_servers(SETTINGS, Enclosure(Path(), Path(), Path(), {}, credentials=folder), seen)


def test_a_header_gets_the_text_of_the_credential_without_spaces_around_it(tmp_path: Path) -> None:
    (tmp_path / "wiki-token").write_text(" s3cret \n")
    found = servers(tmp_path, seen := Seen())
    assert found["wiki"].headers == {"Authorization": "Bearer s3cret"}
    assert seen.notes == []


@pytest.mark.parametrize("content", [None, "", "a\nb: c", "ümlaut", "x" * (CREDENTIAL_BYTES + 1), "pipe"])
def test_a_server_without_a_usable_credential_is_left_out_and_noted(tmp_path: Path, content: str | None) -> None:
    if content == "pipe":
        os.mkfifo(tmp_path / "wiki-token")
    elif content is not None:
        (tmp_path / "wiki-token").write_text(content, encoding="utf-8")
    assert servers(tmp_path, seen := Seen()).keys() == {"files"}
    assert seen.notes == ["the MCP server wiki is left out: the agent has no usable credential wiki-token"]


def test_without_a_folder_of_credentials_there_are_none() -> None:
    assert servers(None, Seen()).keys() == {"files"}

"""What every builder asks of a commit's own settings file."""

from __future__ import annotations

from collections.abc import Mapping

from meta import settings as agent_settings
from meta.errors import BadInput, BuildFailed
from meta.git import FileAt
from reconciler.builders import tree

SETTINGS_FILE = "agent.toml"
NIX_FILE = "agent.nix"


def settings_of(files: Mapping[str, FileAt]) -> agent_settings.AgentSettings:
    """agent.toml of a commit. BuildFailed when it is missing, a symlink or not valid."""
    file = files.get(SETTINGS_FILE)
    if file is None or file.mode == tree.LINK:
        what = "is a symlink" if file else "is missing"
        raise BuildFailed(f"{SETTINGS_FILE} {what}", f"add a regular file {SETTINGS_FILE} to the commit")
    try:
        return agent_settings.parse_settings(file.data, SETTINGS_FILE)
    except BadInput as error:
        raise BuildFailed(error.summary, error.hint, log=error.summary) from error

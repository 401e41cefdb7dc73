"""The checks of a commit's own files that every builder makes before it builds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from meta.agent_toml.settings import SETTINGS_FILE, AgentSettings
from meta.errors import BadInput, BuildFailed
from meta.git.repo import FileAt
from meta.nix import Nix, complaints
from meta.proposed.settings import read_settings
from reconciler.common.generation import LINK

NIX_FILE = "agent.nix"
_PARSE_SECONDS = 30.0


async def settings_of(files: Mapping[str, FileAt]) -> AgentSettings:
    """Return the settings in agent.toml of a commit.

    Raise BuildFailed if the file is missing, a symlink, not valid or not supported.
    """
    file = files.get(SETTINGS_FILE)
    if file is None or file.mode == LINK:
        what = "is a symlink" if file else "is missing"
        raise BuildFailed(f"{SETTINGS_FILE} {what}", f"add a regular file {SETTINGS_FILE} to the commit")
    try:
        settings = await read_settings(file.data)
    except BadInput as error:
        raise BuildFailed(error.summary, error.hint, log=error.summary) from error
    return settings


async def parse_nix(nix: Nix, file: FileAt) -> None:
    """Parse agent.nix. Raise BuildFailed with the line of a syntax error or an undefined name."""
    with tempfile.TemporaryDirectory(prefix="hive-build-") as folder:
        path = Path(folder, NIX_FILE)
        path.write_bytes(file.data)
        try:
            await nix.parse(path, _PARSE_SECONDS)
        except BuildFailed as error:
            log = error.log.replace(f"{folder}/", "")
            hint = f"run `nix-instantiate --parse {NIX_FILE}` in the work tree"
            raise BuildFailed(f"{NIX_FILE} does not parse: {complaints.summary(log)}", hint, log) from error

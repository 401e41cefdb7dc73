"""The surroundings of a CLI: its folders, its environment, and the loopback ports of the relays.

Nothing of the harness's own environment is passed on but what is listed here. A CLI under another uid than the harness
gets the same; what starts it (harness.child) may change the uid, the folders' owner is not decided here.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from harness.environment import Environment
from harness.relay.egress import egress_relay
from harness.relay.mcp import mcp_relay
from harness.runtimes.base import Enclosure
from meta.agent_toml.settings import AgentSettings
from meta.errors import BadInput

WORK = "work"
"""The folder of the state in which the CLI runs. It stays, as the conversations about it do."""
LOOPBACK = "127.0.0.1,localhost,::1"
PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "HIVE_AGENT", "HIVE_LABEL")
"""Variables that the backend sets for the harness, and that are true for the CLI too."""

_FIXED = re.compile(
    r"""HIVE_.*|HYPERHIVE_.*|LD_.*|PATH|HOME|USER|LOGNAME|SHELL|CREDENTIALS_DIRECTORY   # of hive and the container
    |(?:HTTPS?|ALL|NO|FTP)_PROXY                            # of the way out; a proxy would take loopback along, too
    |ANTHROPIC_(?:BASE_URL|UNIX_SOCKET|API_KEY|AUTH_TOKEN)|CLAUDE_CONFIG_DIR|CLAUDE_CODE_OAUTH_TOKEN
    |OPENAI_(?:BASE_URL|API_KEY)|CODEX_HOME|CODEX_API_KEY|OPENCODE_CONFIG(?:_CONTENT|_DIR)?
    |GOOGLE_GEMINI_BASE_URL|GEMINI_API_KEY|GOOGLE_API_KEY""",
    re.IGNORECASE | re.VERBOSE,
)


@contextlib.asynccontextmanager
async def enclosed(
    environment: Environment, settings: AgentSettings, variables: Mapping[str, str]
) -> AsyncIterator[Enclosure]:
    """Open both relays inside the block; yield the enclosure. `variables` is the harness's own environment.

    BadInput if agent.toml sets a variable that is not its own to set, OSError if a folder cannot be made.
    """
    own = own_variables(settings)
    home = Path(variables.get("HOME", "/home/agent"))
    work = environment.state / WORK
    work.mkdir(mode=0o700, exist_ok=True)
    passed = {name: variables[name] for name in PASSED_ON if name in variables}
    with tempfile.TemporaryDirectory(prefix="hive-cli-") as files:  # not in /state: a backup must not have the token
        async with (
            mcp_relay(environment.tools, port=environment.port) as mcp,
            egress_relay(environment.egress) as model_url,
        ):
            env = {**_fixed(environment), **passed, **own}
            yield Enclosure(home, work, Path(files), env, mcp, model_url)


def own_variables(settings: AgentSettings, where: str = "agent.toml") -> dict[str, str]:
    """Return `env` of agent.toml. Raise BadInput for a name whose value hive decides."""
    for name in settings.env:
        if _FIXED.fullmatch(name):
            raise BadInput(
                f"{where}: env.{name[:60]}: hive, the container or the login sets it",
                "leave it out; see docs/reference/agent-toml.md",
            )
    return dict(settings.env)


def _fixed(environment: Environment) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "EMAIL": f"{environment.agent}@hive",  # git's, until the agent sets user.email
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
    }

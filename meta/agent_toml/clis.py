"""The CLIs of the runtimes: each one's program, the oldest version that hive takes, and how a person gets it.

Standard library only: the harness refuses a CLI by this table, and `hive doctor` reports it by the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meta.agent_toml.runtimes import RuntimeName

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cli:
    """The CLI of one runtime.

    `program` is found on the PATH; `install` gets a version that is taken. `oldest` was tried, older ones are refused.
    `login` is the program that logs in, if that is another one.
    """

    program: str
    oldest: Version
    install: str
    login: str = ""

    @property
    def remedy(self) -> str:
        """Return how to get a version that is taken."""
        return f"{self.install}; hive takes {dotted(self.oldest)} and newer"


CLIS: Mapping[RuntimeName, Cli] = MappingProxyType(
    {
        # client_composed, which gives a message to the model as it is, came with 2.1.248. The install command names a
        # version, because npm on node 20 would take the newest one that is for node 20: 2.1.197
        "claude": Cli("claude", (2, 1, 248), "npm install -g @anthropic-ai/claude-code@2.1.329"),
        "codex": Cli(
            "codex-acp",
            (2, 0),
            "npm install -g @agentclientprotocol/codex-acp (it brings codex; node 20 or newer)",
            login="codex",
        ),
        "gemini": Cli("gemini", (0, 50), "npm install -g @google/gemini-cli (node 20 or newer)"),
        "opencode": Cli("opencode", (1, 0), "npm install -g opencode-ai"),
        "claude-acp": Cli(
            "claude-agent-acp",
            (0, 100),
            "npm install -g @agentclientprotocol/claude-agent-acp (it brings claude; node 22 or newer)",
            login="claude",
        ),
    }
)
"""The CLI of each runtime that has one of its own."""

LOGIN_INSTALL: Mapping[str, str] = MappingProxyType(
    {"codex": "npm install -g @openai/codex", "claude": CLIS["claude"].install}
)
"""How a person gets the programs that only log in."""


def cli_of(runtime: str) -> Cli | None:
    """Return the CLI of a runtime, None if it has none of its own."""
    return next((cli for name, cli in CLIS.items() if name == runtime), None)


def version_in(text: str) -> Version | None:
    """Return the first number with dots in a text as a version, None if there is none."""
    found = re.search(r"\d{1,9}(?:\.\d{1,9})+", text[:200])
    return tuple(map(int, found[0].split("."))) if found else None


def is_too_old(cli: Cli, text: str) -> bool:
    """Return True if the version in a text is older than the oldest that hive takes."""
    version = version_in(text)
    return version is not None and version < cli.oldest


def dotted(version: Version) -> str:
    """Return a version as text."""
    return ".".join(map(str, version))

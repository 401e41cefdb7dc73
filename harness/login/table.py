"""What hive knows about the logins of CLIs: where they keep them, and how they log in. One row per runtime."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from meta.agent_toml.logins import LOGINS, LoginPlace, login_remedy

ADDRESS = re.compile(r"https://[!-~]+")
"""An address in the output of a CLI."""

_SHELL = "`hive shell AGENT` and log in there"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A login over pipes. The CLI prints an address that `address` finds.

    `code`: it then reads a code from stdin; else it waits by itself until the person is done, and what it printed
    until `printed` is for that person too. `again` finds the sentence by which it asks for the code again.
    """

    arguments: tuple[str, ...]
    address: re.Pattern[str]
    code: bool
    printed: re.Pattern[str] | None = None
    again: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class LoginRow:
    """The login of one runtime.

    `place` is where it keeps it; the variable `variable` may name another folder. `needed`: without one no turn works.
    `complaint` says what is wrong with the parsed file, "" if nothing is. With one of `keys` in the environment no file
    is needed, nor with one in the file of keys. `dialogue` and `logout` are None if hive does not drive them; then
    `instead` says what helps. `aside`: the CLI wants the folder of `variable` to exist and removes its login before it
    has a new one, so it logs in in a folder of its own (harness.login.aside).
    """

    place: LoginPlace
    needed: bool = True
    variable: str = ""
    keys: tuple[str, ...] = ()
    complaint: Callable[[Any], str] | None = None
    dialogue: Dialogue | None = None
    logout: tuple[str, ...] | None = None
    instead: str = _SHELL
    aside: bool = False

    @property
    def program(self) -> str:
        """Return the program that logs in."""
        return self.place.program

    @property
    def folder(self) -> str:
        """Return the folder of the login, relative to the home."""
        return self.place.folder

    @property
    def file(self) -> str:
        """Return the name of the login's file."""
        return self.place.file


def claude_complaint(value: Any) -> str:
    """Return what is wrong with a parsed `.credentials.json` of claude, "" if nothing is."""
    login = value.get("claudeAiOauth") if isinstance(value, dict) else None
    if not isinstance(login, dict):
        return "it has no login"
    tokens = (login.get("accessToken"), login.get("refreshToken"))
    return "" if any(isinstance(token, str) and token.strip() for token in tokens) else "its login was refused or ended"


def codex_complaint(value: Any) -> str:
    """Return what is wrong with a parsed `auth.json` of codex, "" if nothing is."""
    if not isinstance(value, dict):
        return "it has no login"
    tokens = value.get("tokens")
    candidates = [value.get("OPENAI_API_KEY"), *(tokens.values() if isinstance(tokens, dict) else ())]
    return "" if any(isinstance(each, str) and each.strip() for each in candidates) else "it has no login"


def _any_object(value: Any) -> str:
    return "" if isinstance(value, dict) and value else "it has no login"


CLAUDE = LoginRow(
    LOGINS["claude"],
    variable="CLAUDE_CONFIG_DIR",
    keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"),
    complaint=claude_complaint,
    dialogue=Dialogue(
        ("auth", "login"),
        re.compile(r"https://[!-~]+/oauth/authorize\?[!-~]+"),
        code=True,
        again=re.compile(r"doesn't look like|invalid code|try again", re.IGNORECASE),
    ),
    logout=("auth", "logout"),
    instead=f"{_SHELL} with `claude auth login`, or put a file in place with `hive cp`: docs/howto/login.md",
)
CODEX = LoginRow(
    LOGINS["codex"],
    variable="CODEX_HOME",
    keys=("OPENAI_API_KEY", "CODEX_API_KEY"),
    complaint=codex_complaint,
    dialogue=Dialogue(
        ("login", "--device-auth"),
        re.compile(r"https://[!-~]+/[!-~]*device[!-~]*"),
        code=False,
        printed=re.compile(r"\b[A-Z0-9]{4,}-[A-Z0-9]{4,}\b"),
    ),
    logout=("logout",),
    instead=f"{_SHELL} with `codex login --with-api-key`, which reads a key from stdin: docs/howto/login.md",
    aside=True,
)
TABLE: Mapping[str, LoginRow] = MappingProxyType(
    {
        "script": LoginRow(LOGINS["script"], needed=False, instead="runtime script has no model, and needs no login"),
        "claude": CLAUDE,
        "claude-acp": CLAUDE,
        "codex": CODEX,
        "gemini": LoginRow(
            LOGINS["gemini"],
            keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            complaint=_any_object,
            instead=login_remedy("gemini", "AGENT"),
        ),
        "opencode": LoginRow(
            LOGINS["opencode"],
            needed=False,
            instead=f"{login_remedy('opencode', 'AGENT')}; without a login it uses free models",
        ),
        "acp": LoginRow(LOGINS["acp"], needed=False, instead=login_remedy("acp", "AGENT")),
    }
)
"""Each runtime's row."""


def read(data: bytes) -> Any:
    """Return parsed JSON. Raise ValueError for anything else, also if it is nested too deeply."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error

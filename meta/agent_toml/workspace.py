"""`[[workspace]]` of agent.toml: a repo that is cloned at the agent's first start.

    [[workspace]]
    url = "https://git.example.org/tools.git"    # or ssh://git@git.example.org/tools.git, git@git.example.org:tools.git
    branch = "main"                              # else the one of the remote's HEAD
    path = "tools"                               # else the last part of the URL

A URL becomes a word of git's command line, and git knows URLs that start programs. So only these forms are taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from meta.agent_toml.script import Table
from meta.errors import BadInput
from meta.network.rule import canonical_host
from meta.text import has_secret

WORKSPACES_LIMIT = 16
URL_LIMIT = 1000
BRANCH_LIMIT = 200
PATH_LIMIT = 200

_SHOWN = 60
_USER = r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]{0,63})@)?"
_HOST = r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_][A-Za-z0-9._-]{0,252})"
_PATH = r"(?P<path>[A-Za-z0-9._~%+@=,/-]+)"
_HTTPS = re.compile(rf"https://{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}))?/{_PATH}")
_SSH = re.compile(rf"ssh://{_USER}{_HOST}(?::(?P<port>[1-9][0-9]{{0,4}}))?/{_PATH}")
_SCP = re.compile(r"(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]{0,63})@" + rf"{_HOST}:{_PATH}")
_PLACE_PART = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+-]{0,99}")
_FORMS = "write https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH"
_NOT_IN_A_REF = re.compile(r"[^!-~]|[ ~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|\.$|/$")


def check_clone_url(url: str) -> str:
    """Return the URL of a repo: https or ssh, without a password."""
    _match(url)
    return url


def remote_of(url: str) -> tuple[str, int]:
    """Return the canonical host and the port that a checked URL is cloned from."""
    match, port = _match(url)
    return canonical_host(match["host"]), int(match.groupdict().get("port") or port)


def check_branch(branch: str) -> str:
    """Return the name of a branch: git-check-ref-format(1), in ASCII."""
    starts = branch.startswith(("-", "/", "."))
    if starts or len(branch) > BRANCH_LIMIT or branch in ("@", "HEAD") or _NOT_IN_A_REF.search(branch):
        raise ValueError(
            f"{branch[:_SHOWN]!r} is not the name of a branch: ASCII without spaces and ~^:?*[\\, no '..', at most "
            f"{BRANCH_LIMIT} characters; write it like main or feature/one"
        )
    return branch


def check_path(path: str) -> str:
    """Return the path of a workspace: relative, and nowhere else than below the folder of workspaces."""
    parts = path.split("/")
    if len(path) > PATH_LIMIT or not all(_PLACE_PART.fullmatch(part) for part in parts):
        raise ValueError(
            f"{path[:_SHOWN]!r} is not a path like tools or team/tools: letters, digits, _ . + and -, relative, "
            f"at most {PATH_LIMIT} characters"
        )
    if any(part in (".", "..") or part.lower() == ".git" for part in parts):
        raise ValueError(f"{path[:_SHOWN]!r}: no part of a path is '.', '..' or '.git'; name a folder of its own")
    return path


class Workspace(Table):
    """A repo that is cloned at the first start. `path` is the last part of the URL unless it is given."""

    url: Annotated[str, Field(min_length=1), AfterValidator(check_clone_url)]
    branch: Annotated[str, Field(min_length=1), AfterValidator(check_branch)] | None = None
    path: str = Field(default="", validate_default=True)

    @field_validator("path")
    @classmethod
    def _fill(cls, path: str, info: ValidationInfo) -> str:
        if path or "url" not in info.data:
            return check_path(path) if path else path
        last = re.split(r"[/:]", info.data["url"].rstrip("/"))[-1].removesuffix(".git")
        try:
            return check_path(last)
        except ValueError as error:
            raise ValueError(
                f"is missing, and {last[:_SHOWN]!r}, the last part of the URL, is none; {error}"
            ) from error


def check_workspaces(workspaces: Sequence[Workspace]) -> Sequence[Workspace]:
    """Return the workspaces: each in a folder of its own, none within another one's."""
    paths = sorted(workspace.path.lower().split("/") for workspace in workspaces)
    for above, below in pairwise(paths):
        if below[: len(above)] == above:
            raise ValueError(
                f"{'/'.join(below)[:_SHOWN]!r}: two workspaces have this path, or one is within the other; give each a "
                "path of its own"
            )
    return workspaces


def _match(url: str) -> tuple[re.Match[str], int]:
    """Return the parts of a URL, and the port of its form."""
    shown = url[:_SHOWN]
    pattern, port = (_HTTPS, 443) if url.startswith("https:") else (_SSH if url.startswith("ssh:") else _SCP, 22)
    match = pattern.fullmatch(url) if len(url) <= URL_LIMIT else None
    if match is None:
        raise ValueError(f"{shown!r} is not the URL of a repo; {_FORMS}, without a login in it")
    if int(match.groupdict().get("port") or port) > 65_535:
        raise ValueError(f"{shown!r}: a port is 1 to 65535")
    if match["path"].startswith("-") or re.search(r"%(?:[01].|7f|$|.$)", match["path"], re.IGNORECASE):
        raise ValueError(f"{shown!r}: its path begins with '-' or has a control character; {_FORMS}")
    if has_secret(url):
        raise ValueError("a secret does not belong in a URL, the file is in git; see docs/howto/secrets.md")
    try:
        canonical_host(match["host"])
    except BadInput as error:
        raise ValueError("; ".join(filter(None, (error.summary, error.hint)))) from error
    return match, port

"""The coding agents of this host that are bound into sandboxes, read-only, and what they need to start.

A sandbox has the system's programs anyway (`meta.process.sandbox`). What lies elsewhere, as in the home of the person
who installed it, is bound under neutral names, so that nothing else of that home is seen:

    /programs/bin/NAME           a link to each program, first on the agent's PATH
    /programs/lib/NAME/...       its file alone, or the whole `node_modules` that it is a part of

Programs are found on the daemon's PATH, or named by HIVE_AGENT_PROGRAMS. A folder named there is bound as it is, under
its own name.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.config import Config
from meta.process import sandbox

NAMES = ("claude", "codex", "codex-acp", "gemini", "opencode", "claude-agent-acp", "node", "npm", "npx")
"""What is looked for. The last three are what the others run on."""
FOLDER = Path("/programs")
BIN = FOLDER / "bin"

_PACKAGES = "node_modules"
_RESERVED = (
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/boot",
    "/config",
    "/state",
    "/home/agent",
    "/agents",
    "/applied",
)
_RESERVED_TOO = ("/meta", str(FOLDER), "/root", "/home", "/var/run", "/var/lib/private")
_SECRET = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config", ".claude", ".codex", ".gemini"})
"""Folders of a home in which programs keep credentials."""
_SHEBANG_BYTES = 256


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """One program or folder. `why` says why agents do not have it; "" if they do.

    `path` is where it was found on the host, None if it was not. `link` (target, place) leads to it in a sandbox, and
    `bind` (host, inside) is bound for it; None if nothing is needed. `search` is a folder for the PATH.
    """

    name: str
    path: Path | None
    why: str = ""
    link: tuple[str, Path] | None = None
    bind: tuple[Path, Path] | None = None
    search: Path | None = None


def agent_programs(
    config: Config, keep_out: Iterable[Path] = (), search: str | None = None
) -> tuple[AgentProgram, ...]:
    """Return what is named by the setting, then what else is found on `search` (None: this process's PATH).

    `keep_out` are hive's own directories, of which nothing is bound. This costs about a hundred stats.
    """
    named = [Path(entry) for entry in config.agent_programs.split(":") if entry]
    programs = [_named(path, keep_out) for path in named]
    known = {program.name for program in programs}
    for name in NAMES:
        if name not in known:
            found = shutil.which(name, path=search)
            programs.append(_program(name, Path(found)) if found else AgentProgram(name, None, "not found"))
    return tuple(_with_interpreter(program, programs) for program in programs)


def describe(programs: Sequence[AgentProgram]) -> str:
    """Return one line: the programs that agents have, then those that are there and cannot be had, with the reason."""
    have = ", ".join(program.name for program in programs if not program.why) or "none"
    return "; ".join([have, *(f"{one.name}: {one.why}" for one in programs if one.why and one.path is not None)])


def _named(path: Path, keep_out: Iterable[Path]) -> AgentProgram:
    try:
        return _folder(path, keep_out) if path.is_dir() else _program(path.name, path)
    except OSError as error:  # hive's user may not look there, or it is just going
        return AgentProgram(str(path), path, error.strerror or "cannot be read")


def _program(name: str, path: Path) -> AgentProgram:
    if not path.is_absolute():
        return AgentProgram(name, path, "not an absolute path")
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError):
        return AgentProgram(name, path, "leads nowhere")
    if not stat.S_ISREG(mode):
        return AgentProgram(name, path, "not a file")
    if not _usable(real, mode):
        return AgentProgram(name, path, f"agents may not read and execute {real}")
    if sandbox.has(real):
        return AgentProgram(name, path, link=(str(real), BIN / name))
    bind = _bind(name, real)
    target = bind[1] / real.relative_to(bind[0]) if bind[0] != real else bind[1]
    return AgentProgram(name, path, link=(str(target), BIN / name), bind=bind)


def _bind(name: str, real: Path) -> tuple[Path, Path]:
    """Return what is bound for a program outside of the system, and where."""
    inside = FOLDER / "lib" / name
    if _PACKAGES in real.parts[:-1]:  # the outermost: a package finds those beside it, and pnpm's store below it
        packages = Path(*real.parts[: real.parts.index(_PACKAGES) + 1])
        return packages, inside / _PACKAGES
    return real, inside / real.name


def _with_interpreter(program: AgentProgram, programs: Sequence[AgentProgram]) -> AgentProgram:
    """Return the program, with the reason if what its first line names is not in the sandbox."""
    if program.why or program.path is None or program.link is None:
        return program
    words = _shebang(program.path.resolve())
    if not words:
        return program
    by_name = Path(words[0]).name == "env" and len(words) > 1
    interpreter = words[-1] if by_name else words[0]
    if by_name:
        has = any(one.name == interpreter and not one.why for one in programs) or _in_system(interpreter)
    else:
        has = sandbox.has(Path(interpreter).resolve())
    if has:
        return program
    return AgentProgram(program.name, program.path, f"it is run by {interpreter}, which agents do not have")


def _in_system(name: str) -> bool:
    found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/run/current-system/sw/bin")
    return found is not None and sandbox.has(Path(found).resolve())


def _shebang(path: Path) -> list[str]:
    """Return the words of the first line if it names an interpreter; `env -S` and its options are left out."""
    try:
        with path.open("rb") as file:
            first = file.read(_SHEBANG_BYTES).split(b"\n", 1)[0]
    except OSError:
        return []
    if not first.startswith(b"#!"):
        return []
    words = first[2:].decode("utf-8", "replace").split()
    if len(words) > 2 and words[1] == "-S":
        return [words[0], words[2]]
    return words[:2]


def _folder(path: Path, keep_out: Iterable[Path]) -> AgentProgram:
    name = str(path)
    if not path.is_absolute():
        return AgentProgram(name, path, "not an absolute path")
    real = path.resolve()
    why = _forbidden(path, real, keep_out)
    if not why and not _usable(real, real.stat().st_mode):
        why = "agents may not enter it"
    if why:
        return AgentProgram(name, path, why)
    search = path / "bin" if (path / "bin").is_dir() else path
    return AgentProgram(name, path, bind=None if sandbox.has(real) else (real, path), search=search)


def _forbidden(path: Path, real: Path, keep_out: Iterable[Path]) -> str:
    """Return why a folder is never bound, "" if it may be. Both its name and where it leads count."""
    homes = {Path(user.pw_dir) for user in pwd.getpwall()} - {Path("/")}
    for one in (path, real):
        if secret := _SECRET.intersection(one.parts):
            return f"programs keep credentials in {min(secret)}"
        for home in sorted(home for home in homes if not sandbox.has(home)):
            if home.is_relative_to(one):
                return f"{home} would be seen, which is the home of a user"
        for own in keep_out:
            if own.is_relative_to(one) or one.is_relative_to(own):
                return f"{own} would be seen, which is hive's own"
        for reserved in map(Path, (*_RESERVED, *_RESERVED_TOO)):
            inner = reserved not in (Path("/root"), Path("/home"))
            if reserved.is_relative_to(one) or (inner and one.is_relative_to(reserved)):
                return f"{reserved} is no place for programs"
    return ""


def _usable(path: Path, mode: int) -> bool:
    """Return True if agents may read and execute it: with root they have uids of their own, else the daemon's."""
    return mode & 0o005 == 0o005 if os.geteuid() == 0 else os.access(path, os.R_OK | os.X_OK)

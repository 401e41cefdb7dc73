"""What a CLI needs of its container to start and to work, whatever its scope says."""

from __future__ import annotations

import os
import posixpath
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import meta
from harness.scope.plan import Needs
from meta.agent_toml.scope import ScopeRule, ScopeSettings
from meta.agent_toml.settings import AgentSettings
from meta.errors import HiveError
from meta.scope.paths import canonical
from meta.scope.rules import Rule, Scope
from meta.wire.pod import Permission

READ = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix", "/etc", "/proc", "/sys", "/dev"),
    *("/programs", "/run/current-system", "/run/wrappers", "/run/credentials", "/run/systemd/resolve"),
)
"""Read and executed: programs, settings of the system, and what the kernel shows."""
WRITE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - inside
"""Written, beside its home: what is temporary."""

_PROGRAMS = ("claude", "codex", "codex-acp", "gemini", "opencode", "claude-agent-acp", "node")
_PACKAGES = "node_modules"


def needs_of(settings: AgentSettings, env: Mapping[str, str], home: Path, read: Iterable[Path]) -> Needs:
    """Return the paths: the system's, the home, temporary ones, those of the agent's programs, and `read`.

    Called before a CLI runs, which may put links in the place of its own folders. So all links are followed now.
    """
    servers = (server.command[0] for server in settings.mcp_servers.values() if server.command)
    words = (*((settings.command or [])[:1]), *_PROGRAMS, *servers)
    found = (path for word in words if (path := shutil.which(word, path=env.get("PATH", os.defpath))))
    reads = [*READ, *map(str, read), *_python(), *(place for path in found for place in _places(path))]
    writes = [str(home), *WRITE, tempfile.gettempdir()]
    return Needs(_there(reads), _there(writes))


def scope_of(settings: ScopeSettings, folder: Path) -> Scope:
    """Return the scope of an agent.toml in `folder`. Links within its targets are refused later, not followed."""
    base = os.path.realpath(folder)
    return Scope(
        tuple(_rule(rule, base) for rule in settings.allow), tuple(_rule(rule, base) for rule in settings.deny)
    )


def _rule(rule: ScopeRule, base: str) -> Rule:
    target = posixpath.normpath(posixpath.join(base, rule.target))
    return Rule(f"/{target.lstrip('/')}", Permission(rule.permission), rule.recursive)


def _python() -> tuple[str, ...]:
    """Return where this Python and this program are: tools of the agent run it for the way out."""
    folders = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    return (*folders, *(str(Path(module).parent) for module in (meta.__file__, __file__.rpartition("/")[0])))


def _places(program: str) -> tuple[str, ...]:
    """Return what a program is: its file, and the packages that it is one of."""
    real = Path(os.path.realpath(program))
    packages = real.parts.index(_PACKAGES) if _PACKAGES in real.parts else 0
    return (program, str(real), *([str(Path(*real.parts[: packages + 1]))] if packages else []))


def _there(paths: Iterable[str]) -> tuple[str, ...]:
    found = set()
    for path in paths:
        try:
            real = canonical(path)
        except HiveError:  # in a folder of others
            continue
        if Path(real).exists() and real != "/":
            found.add(real)
    return tuple(sorted(found))

"""The summary of an agent's system (the flake's `summary.<n>`), and how two systems differ. Pure.

The text comes from the agent's own module. Nothing here trusts it; all output is scrubbed and bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meta.errors import BuildFailed
from meta.text import one_line

MAX_LINES = 200
"""Lines of one comparison. If there are more, the most important are kept."""

_NAME_LIMIT = 120


class _Package(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")
    name: str = ""
    version: str = ""


class _Written(BaseModel):
    """The JSON of `summary.<n>` (from the function in meta.desired.summary)."""

    model_config = ConfigDict(strict=True, extra="ignore")
    packages: list[_Package] = Field(default_factory=list)
    units: dict[str, str] = Field(default_factory=dict)
    users: dict[str, str] = Field(default_factory=dict)
    ports: list[str] = Field(default_factory=list)
    binds: list[str] = Field(default_factory=list)
    capabilities: list[str] = Field(default_factory=list)
    setuid: list[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Summary:
    """One system. Each part maps names to values: a version, a digest of the unit, a user's uid and groups.

    Ports, binds, capabilities and setuid programs have only names. The parts are in the order of importance.
    """

    setuid: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, str] = field(default_factory=dict)
    binds: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)


_WORDS = {
    "setuid": "setuid program",
    "capabilities": "capability",
    "binds": "bind",
    "ports": "open port",
    "users": "user",
    "units": "unit",
    "packages": "package",
}


def parse(data: bytes) -> Summary:
    """Return the summary in nix's JSON. Raise BuildFailed if the JSON is not a summary: then the module replaced the
    flake's function.
    """
    try:
        written = _Written.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BuildFailed(
            one_line(f"the system's summary is not what hive asks for: {where}: {first['msg']}"), "see agent.nix"
        ) from error
    return Summary(
        setuid=_names(written.setuid),
        capabilities=_names(written.capabilities),
        binds=_names(written.binds),
        ports=_names(written.ports),
        users=_clean(written.users),
        units=_clean(written.units),
        packages=_packages(written.packages),
    )


def compare(old: Summary | None, new: Summary) -> tuple[str, ...]:
    """Return the differences as lines for the card, those that give rights first. Without an `old` everything is new.

    "+ open port tcp/80", "- unit sync.service", "~ package git: 2.39 -> 2.45", "~ unit sync.service".
    """
    lines: list[str] = []
    before = old or Summary()
    for part in fields(Summary):
        lines += _differences(part.name, getattr(before, part.name), getattr(new, part.name))
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more"]
    return tuple(lines)


def _differences(part: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    word = _WORDS[part]
    added = [f"+ {word} {_described(part, name, new[name])}" for name in sorted(new.keys() - old.keys())]
    removed = [f"- {word} {name}" for name in sorted(old.keys() - new.keys())]
    changed = []
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            how = "" if part == "units" else f": {old[name] or 'none'} -> {new[name] or 'none'}"
            changed.append(f"~ {word} {name}{how}")
    return [*added, *changed, *removed]


def _described(part: str, name: str, what: str) -> str:
    if part == "units" or not what:
        return name
    return f"{name} ({what})" if part == "users" else f"{name} {what}"


def _names(values: Iterable[str]) -> dict[str, str]:
    return {one_line(value, _NAME_LIMIT): "" for value in values}


def _clean(values: Mapping[str, str]) -> dict[str, str]:
    return {one_line(name, _NAME_LIMIT): one_line(value, _NAME_LIMIT) for name, value in values.items()}


def _packages(packages: Iterable[_Package]) -> dict[str, str]:
    versions: dict[str, set[str]] = {}
    for package in packages:
        name = one_line(package.name, _NAME_LIMIT)
        versions.setdefault(name, set()).add(one_line(package.version, _NAME_LIMIT))
    return {name: ", ".join(sorted(some)) for name, some in versions.items() if name}

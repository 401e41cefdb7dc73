"""The summary of an agent's system, and how two systems differ. Pure.

It covers what can change what runs or who may do what. Digests of everything that the system is made of show a change
that no other part covers.

The text comes from the agent's own module. Nothing here trusts it; all output is scrubbed and bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from meta.errors import BuildFailed
from meta.text import one_line

MAX_LINES = 200
"""Lines of one comparison. If there are more, the most important are kept."""

_NAME_LIMIT = 120
_DIGITS = 12
_NAMED = 8
"""Packages that one line names."""

FORM = 2
"""The number of the function that makes summaries."""


class _Package(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")
    name: str = ""
    version: str = ""


class _Written(BaseModel):
    """The JSON of a system (from the function in meta.desired.summary)."""

    model_config = ConfigDict(strict=True, extra="ignore")
    form: int = 1
    packages: list[_Package] = Field(default_factory=list)
    builds: dict[str, str] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    userUnits: dict[str, str] = Field(default_factory=dict)
    users: dict[str, str] = Field(default_factory=dict)
    accounts: dict[str, str] = Field(default_factory=dict)
    passwords: dict[str, str] = Field(default_factory=dict)
    keys: list[str] = Field(default_factory=list)
    groups: dict[str, str] = Field(default_factory=dict)
    ports: list[str] = Field(default_factory=list)
    binds: list[str] = Field(default_factory=list)
    mounts: dict[str, str] = Field(default_factory=dict)
    capabilities: list[str] = Field(default_factory=list)
    setuid: list[str] = Field(default_factory=list)
    wrappers: dict[str, str] = Field(default_factory=dict)
    tmpfiles: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    activation: dict[str, str] = Field(default_factory=dict)
    userActivation: dict[str, str] = Field(default_factory=dict)
    nix: dict[str, str] = Field(default_factory=dict)
    whole: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Summary:
    """One system. Each part maps names to values: a version, a digest, a user's uid and groups.

    Keys, ports, binds, capabilities and setuid programs have only names. The parts are in the order of importance.
    `whole` are digests of what the system is made of. `form` is the number of the function that made the summary: two
    forms cannot be compared.
    """

    setuid: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, str] = field(default_factory=dict)
    wrappers: Mapping[str, str] = field(default_factory=dict)
    binds: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)
    accounts: Mapping[str, str] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    activation: Mapping[str, str] = field(default_factory=dict)
    user_activation: Mapping[str, str] = field(default_factory=dict)
    tmpfiles: Mapping[str, str] = field(default_factory=dict)
    nix: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    user_units: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)
    whole: Mapping[str, str] = field(default_factory=dict)
    form: int = 1  # those that an older hive kept have no number

    def is_same(self, other: Summary) -> bool:
        """Return True if both are the same system, whatever commit they name. Unknown systems are never the same."""
        mine = self.whole.get(_SYSTEM)
        return mine is not None and mine == other.whole.get(_SYSTEM)


_WORDS = {
    "setuid": "setuid program",
    "capabilities": "capability",
    "wrappers": "program wrapper",
    "binds": "bind",
    "mounts": "mount",
    "ports": "open port",
    "users": "user",
    "accounts": "account of user",
    "passwords": "password of user",
    "keys": "ssh key",
    "groups": "group",
    "activation": "activation script",
    "user_activation": "activation script of users",
    "tmpfiles": "tmpfiles rule",
    "nix": "nix setting",
    "units": "unit",
    "user_units": "unit of users",
    "files": "file",
    "packages": "package",
}
_SHOWN = frozenset({"users", "groups", "packages"})
"""The parts whose values are for people. The others have digests."""

_BESIDE = {"wrappers": ("setuid", "capabilities"), "mounts": ("binds",), "accounts": ("users",)}
"""The parts that say more of what other parts name. What is new there needs no second line."""

_SYSTEM = "system"
_HIDDEN = "in a way that no other line shows: read the patch"
_MADE_OF = {
    "boot": ("the script that boots the system", ()),
    "script": (
        f"the activation of the system, {_HIDDEN}",
        ("activation", "users", "accounts", "groups", "passwords", "files"),
    ),
    "etc": (f"the files in /etc, {_HIDDEN}", ("files",)),
    "packages": (f"the packages, {_HIDDEN}", ("packages", "builds")),
    "rest": ("something else in the system changed: read the patch", ()),
}
"""What the system is made of, and the parts whose lines show a change of it."""


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
        wrappers=_clean(written.wrappers),
        binds=_names(written.binds),
        mounts=_clean(written.mounts),
        ports=_names(written.ports),
        users=_clean(written.users),
        accounts=_clean(written.accounts),
        passwords=_clean(written.passwords),
        keys=_names(written.keys),
        groups=_clean(written.groups),
        activation=_clean(written.activation),
        user_activation=_clean(written.userActivation),
        tmpfiles=_clean(written.tmpfiles),
        nix=_clean(written.nix),
        units=_clean(written.units),
        user_units=_clean(written.userUnits),
        files=_clean(written.files),
        packages=_packages(written.packages),
        builds=_clean(written.builds),
        whole=_clean(written.whole),
        form=written.form,
    )


def compare(old: Summary | None, new: Summary) -> tuple[str, ...]:
    """Return the differences as lines for the card, those that give rights first. Without an `old` everything is new.

    "+ open port tcp/80", "- unit sync.service", "~ package git: 2.39 -> 2.45", "~ unit sync.service". A change that no
    line shows is a line as well: then the patch has to be read.
    """
    before = old or Summary()
    changes = {part: _differences(part, before, new) for part in _WORDS}
    changes["builds"] = _built_differently(before, new)
    if old is not None:
        changes["whole"] = _unexplained(before, new, {part for part, lines in changes.items() if lines})
    lines = [line for some in changes.values() for line in some]
    if len(lines) > MAX_LINES:
        last = changes.get("whole", [])
        kept = MAX_LINES - 1 - len(last)
        lines = [*lines[:kept], f"and {len(lines) - kept - len(last)} more", *last]
    return tuple(lines)


def _differences(part: str, before: Summary, after: Summary) -> list[str]:
    word, old, new = _WORDS[part], _part(before, part), _part(after, part)
    added = [name for name in sorted(new.keys() - old.keys()) if not _is_named(after, part, name)]
    removed = [name for name in sorted(old.keys() - new.keys()) if not _is_named(before, part, name)]
    changed = []
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            how = f": {old[name] or 'none'} -> {new[name] or 'none'}" if part in _SHOWN else _how(old[name], new[name])
            changed.append(f"~ {word} {name}{how}")
    return [
        *(f"+ {word} {_described(part, name, new[name])}" for name in added),
        *changed,
        *(f"- {word} {name}" for name in removed),
    ]


def _part(summary: Summary, part: str) -> Mapping[str, str]:
    names: Mapping[str, str] = getattr(summary, part)
    return names


def _is_named(summary: Summary, part: str, name: str) -> bool:
    """Return True if a line of another part names `name`, of which this part only has more details."""
    others = [other for beside in _BESIDE.get(part, ()) for other in _part(summary, beside)]
    return any(other == name or other.endswith(f" of program {name}") for other in others)


def _how(old: str, new: str) -> str:
    """Return the change of what follows a digest: a mode and an owner."""
    before, after = old.partition(" ")[2], new.partition(" ")[2]
    return f": {before or 'read-only'} -> {after or 'read-only'}" if before != after else ""


def _built_differently(old: Summary, new: Summary) -> list[str]:
    """Return one line for the packages whose version is the same and whose build is another."""
    same = [name for name in new.builds if old.packages.get(name) == new.packages.get(name)]
    names = sorted(name for name in same if old.builds.get(name, new.builds[name]) != new.builds[name])
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"~ built differently, in the same version: {', '.join(names[:_NAMED])}{more}"]


def _unexplained(old: Summary, new: Summary, shown: set[str]) -> list[str]:
    """Return a line for each thing that the system is made of, if it changed and no line of another part shows why."""
    if not old.whole or old.form != new.form:
        return []
    lines = [
        f"~ {words}"
        for name, (words, parts) in _MADE_OF.items()
        if old.whole.get(name) != new.whole.get(name) and not shown.intersection(parts)
    ]
    if not lines and not shown and not old.is_same(new):
        lines = [f"~ {_MADE_OF['rest'][0]}"]
    return lines


def _described(part: str, name: str, what: str) -> str:
    if part not in _SHOWN:
        mode = what.partition(" ")[2]
        return f"{name} ({mode})" if mode else name
    if not what:
        return name
    return f"{name} {what}" if part == "packages" else f"{name} ({what})"


def _names(values: Iterable[str]) -> dict[str, str]:
    return {_one_line(value): "" for value in values}


def _clean(values: Mapping[str, str]) -> dict[str, str]:
    return {_one_line(name): _one_line(value) for name, value in values.items()}


def _one_line(text: str) -> str:
    """Return `text` on one line that is not too long. If it lost something a digest follows, so that two stay two."""
    line = one_line(text, _NAME_LIMIT)
    if line == text:
        return line
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{one_line(text, _NAME_LIMIT - _DIGITS - 1)} {digest}".lstrip()


def _packages(packages: Iterable[_Package]) -> dict[str, str]:
    versions: dict[str, set[str]] = {}
    for package in packages:
        versions.setdefault(_one_line(package.name), set()).add(_one_line(package.version))
    return {name: ", ".join(sorted(some)) for name, some in versions.items() if name}

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
"""Lines of one comparison. If there are more, each part keeps its share, so that none can hide another."""

_NAME_LIMIT = 120
_DIGITS = 12
_NAMED = 8
"""Packages that one line names."""

FORM = 3
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
    keys: dict[str, str] = Field(default_factory=dict)
    groups: dict[str, str] = Field(default_factory=dict)
    ports: dict[str, str] = Field(default_factory=dict)
    binds: dict[str, str] = Field(default_factory=dict)
    mounts: dict[str, str] = Field(default_factory=dict)
    capabilities: dict[str, str] = Field(default_factory=dict)
    setuid: dict[str, str] = Field(default_factory=dict)
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

    Keys, ports, binds, capabilities and setuid programs have only names. What cannot be evaluated has the value
    "fails". The parts are in the order of importance. `whole` are digests of what the system is made of. `form` is the
    number of the function that made the summary: two forms cannot be compared.
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


WORDS = {
    "setuid": ("setuid program", "setuid programs"),
    "capabilities": ("capability", "capabilities"),
    "wrappers": ("program wrapper", "program wrappers"),
    "binds": ("bind", "binds"),
    "mounts": ("mount", "mounts"),
    "ports": ("open port", "open ports"),
    "users": ("user", "users"),
    "accounts": ("account of user", "accounts of users"),
    "passwords": ("password of user", "passwords of users"),
    "keys": ("ssh key", "ssh keys"),
    "groups": ("group", "groups"),
    "activation": ("activation script", "activation scripts"),
    "user_activation": ("activation script of users", "activation scripts of users"),
    "tmpfiles": ("tmpfiles rule", "tmpfiles rules"),
    "nix": ("nix setting", "nix settings"),
    "units": ("unit", "units"),
    "user_units": ("unit of users", "units of users"),
    "files": ("file", "files"),
    "packages": ("package", "packages"),
}
"""One and several of each part, in the order of the lines."""

_SHOWN = frozenset({"users", "groups", "packages"})
"""The parts whose values are for people. The others have digests."""

_BESIDE = {"wrappers": ("setuid", "capabilities"), "mounts": ("binds",), "accounts": ("users",)}
"""The parts that say more of what other parts name. What is new there needs no second line."""

_SYSTEM = "system"
_FAILS = "fails"
_HIDDEN = ", in a way that no other line shows: read the patch"
_PARTLY = " as a whole: the lines above may not be all"
_UNKNOWN = "cannot be evaluated, read the patch"
_ELSE = "something else in the system changed: read the patch"
_MADE_OF: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "boot": ("the script that boots the system", "", ()),
    "script": (
        "the activation of the system",
        _HIDDEN,
        ("activation", "users", "accounts", "groups", "passwords", "files"),
    ),
    "etc": ("the files in /etc", _HIDDEN, ("files",)),
    "packages": ("the packages", _HIDDEN, ("packages", "builds")),
    "rest": (_ELSE, "", ()),
}
"""What the system is made of, what to add if no line of another part shows a change of it, and those parts."""


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
        setuid=_clean(written.setuid),
        capabilities=_clean(written.capabilities),
        wrappers=_clean(written.wrappers),
        binds=_clean(written.binds),
        mounts=_clean(written.mounts),
        ports=_clean(written.ports),
        users=_clean(written.users),
        accounts=_clean(written.accounts),
        passwords=_clean(written.passwords),
        keys=_clean(written.keys),
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
    lines = {part: _differences(part, before, new) for part in WORDS}
    lines["builds"] = _built_differently(before, new)
    if old is not None:
        lines["whole"] = _changes_as_a_whole(before, new, {part for part, some in lines.items() if some})
    forged = ["~ the system is not the one that NixOS makes: read the patch"] if _is_forged(new) else []
    return (*forged, *_within(MAX_LINES - len(forged), lines))


def _within(limit: int, lines: Mapping[str, list[str]]) -> list[str]:
    """Return all lines, or at most `limit`: each part keeps at most the same share, and names how many more it has."""
    share = limit
    while sum(min(len(some), share) for some in lines.values()) > limit:
        share -= 1
    kept = []
    for part, some in lines.items():
        if len(some) <= share:
            kept += some
        else:
            kept += [*some[: share - 1], f"and {len(some) - share + 1} more {WORDS[part][1]}"]
    return kept


def _is_forged(summary: Summary) -> bool:
    """Return True if the derivation that would be built is not made of the attributes that are summarised."""
    return summary.whole.get("genuine", "yes") != "yes"


def _differences(part: str, before: Summary, after: Summary) -> list[str]:
    word, old, new = WORDS[part][0], _part(before, part), _part(after, part)
    added, removed = _unnamed(after, part, old), _unnamed(before, part, new)
    changed = [name for name in sorted(old.keys() & new.keys()) if _is_changed(old[name], new[name])]
    return [
        *(f"+ {word} {_described(part, name, new[name])}" for name in added),
        *(f"~ {word} {name}{_how(part, old[name], new[name])}" for name in changed),
        *(f"- {word} {name}" for name in removed),
    ]


def _is_changed(old: str, new: str) -> bool:
    """Return True if two values differ. Two that cannot be evaluated may differ as well."""
    return old != new or new == _FAILS


def _part(summary: Summary, part: str) -> Mapping[str, str]:
    names: Mapping[str, str] = getattr(summary, part)
    return names


def _unnamed(summary: Summary, part: str, others: Mapping[str, str]) -> list[str]:
    """Return the names of a part that are not in `others` and that no line of another part names."""
    values = _part(summary, part)
    beside = {name for other in _BESIDE.get(part, ()) for name in _part(summary, other)}
    beside |= {name.rpartition(" of program ")[2] for name in beside}
    return sorted(name for name in values.keys() - others.keys() if values[name] == _FAILS or name not in beside)


def _how(part: str, old: str, new: str) -> str:
    """Return the change of a value for people, or of what follows a digest: a mode and an owner."""
    if new == _FAILS:
        return f": {_UNKNOWN}"
    if part in _SHOWN:
        return f": {old or 'none'} -> {new or 'none'}"
    before, after = old.partition(" ")[2], new.partition(" ")[2]
    return f": {before or 'read-only'} -> {after or 'read-only'}" if before != after else ""


def _built_differently(old: Summary, new: Summary) -> list[str]:
    """Return one line for the packages whose version is the same and whose build is another."""
    same = [name for name in new.builds if old.packages.get(name) == new.packages.get(name)]
    names = sorted(name for name in same if _is_changed(old.builds.get(name, new.builds[name]), new.builds[name]))
    if not names:
        return []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"~ built differently, in the same version: {', '.join(names[:_NAMED])}{more}"]


def _changes_as_a_whole(old: Summary, new: Summary, shown: set[str]) -> list[str]:
    """Return a line for each thing that the system is made of, if it changed.

    The lines of other parts come from options, and a module can replace what NixOS makes of them. So they explain
    nothing for certain, and this line is there even beside them.
    """
    if not old.whole or old.form != new.form:
        return []
    lines = [
        f"~ {words}{_PARTLY if shown.intersection(parts) else hidden}"
        for name, (words, hidden, parts) in _MADE_OF.items()
        if _is_changed(old.whole.get(name, ""), new.whole.get(name, ""))
    ]
    return lines or ([] if old.is_same(new) else [f"~ {_ELSE}"])


def _described(part: str, name: str, what: str) -> str:
    if what == _FAILS:
        return f"{name}: {_UNKNOWN}"
    if part not in _SHOWN:
        mode = what.partition(" ")[2]
        return f"{name} ({mode})" if mode else name
    if not what:
        return name
    return f"{name} {what}" if part == "packages" else f"{name} ({what})"


def _clean(values: Mapping[str, str]) -> dict[str, str]:
    return {_one_line(name): _one_line(value) for name, value in values.items()}


def _one_line(text: str) -> str:
    """Return `text` on one line that is not too long. If it lost something a digest follows, so that two stay two."""
    if text.isascii() and text.isalnum() and len(text) <= _NAME_LIMIT:
        return text  # a digest, say: most values
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

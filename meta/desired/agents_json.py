"""The files of the meta repo as text: agents.json (desired agents) and run.json (running or stopped).

People may edit these files: an unknown key or a wrong type is an error that names the place. hive writes them sorted,
each agent on a few lines, so that a diff is easy to read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from meta.desired.uid_ranges import LOWEST, require_apart
from meta.errors import BadInput, HiveError
from meta.model import (
    AgentEntry,
    ContainerSettings,
    Limits,
    NetworkGrant,
    Pin,
    Role,
    RunEntry,
    RunState,
    Tombstone,
)
from meta.names import AgentName, ProposalId, Sha, agent_name

AGENTS_FILE = "agents.json"
RUN_FILE = "run.json"
VERSION = 1
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Pin(_Strict):
    id: int = Field(ge=0, lt=2**63)
    sha: str = Field(pattern="^[0-9a-f]{40}$")

    def value(self) -> Pin:
        return Pin(ProposalId(self.id), Sha(self.sha))


class _Limits(_Strict):
    memory_mib: int | None = Field(ge=1)
    pids: int | None = Field(ge=1)
    cpu_percent: int | None = Field(ge=1)
    disk_mib: int | None = Field(None, ge=1)


class _Settings(_Strict):
    role: str = Field(pattern="^(agent|manager)$")
    uid_base: int = Field(ge=0, lt=2**32)
    limits: _Limits
    isolated: bool

    def value(self) -> ContainerSettings:
        limits = Limits(self.limits.memory_mib, self.limits.pids, self.limits.cpu_percent, self.limits.disk_mib)
        return ContainerSettings(Role(self.role), self.uid_base, limits, self.isolated)


class _Agent(_Strict):
    pin: _Pin
    settings: _Settings
    disowned: list[int] = []

    def value(self) -> AgentEntry:
        return AgentEntry(self.pin.value(), self.settings.value(), frozenset(map(ProposalId, self.disowned)))


class _Tombstone(_Strict):
    uid_base: int = Field(ge=0, lt=2**32)
    pin: _Pin
    purge: bool = False
    disowned: list[int] = []

    def value(self) -> Tombstone:
        return Tombstone(self.uid_base, self.pin.value(), self.purge, frozenset(map(ProposalId, self.disowned)))


class _Grant(_Strict):
    rule: str = Field(max_length=300)
    until: int = Field(ge=0, lt=2**53)
    by: str = Field(max_length=200)
    at: int = Field(ge=0, lt=2**53)
    request: int | None = Field(default=None, ge=0, lt=2**53)

    def value(self) -> NetworkGrant:
        return NetworkGrant(self.rule, self.until, self.by, self.at, self.request)


class _Run(_Strict):
    state: str = Field(pattern="^(running|stopped)$")
    restarts: int = Field(ge=0)
    rebuilds: int = Field(ge=0)
    with_all: bool = False
    paused: bool = False
    grants: list[_Grant] = []

    def value(self) -> RunEntry:
        return RunEntry(
            RunState(self.state),
            self.restarts,
            self.rebuilds,
            self.with_all,
            self.paused,
            tuple(grant.value() for grant in self.grants),
        )


@dataclass(frozen=True, slots=True)
class Agents:
    """agents.json, decoded. `raw` is its JSON, so that of a later file only the differences are decoded."""

    agents: Mapping[AgentName, AgentEntry] = field(default_factory=dict)
    tombstones: Mapping[AgentName, Tombstone] = field(default_factory=dict)
    raw: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict, repr=False)


def decode_agents(data: bytes, before: Agents | None = None, first_uid: int = LOWEST) -> Agents:
    """Return agents.json. Take entries that did not change from `before`. BadInput names the place of a fault.

    A uid range that begins below `first_uid`, ends above the last uid or overlaps another is a fault.
    """
    raw = _sections(data, AGENTS_FILE, ("agents", "tombstones"))
    old = before or Agents()
    agents: dict[AgentName, AgentEntry] = {}
    for name, value in raw["agents"].items():
        known = old.agents.get(AgentName(name))
        same = known is not None and old.raw["agents"].get(name) == value
        agents[_name(name, AGENTS_FILE)] = known if same and known else _check(_Agent, value, f"agents.{name}").value()
    tombstones: dict[AgentName, Tombstone] = {}
    for name, value in raw["tombstones"].items():
        grave = old.tombstones.get(AgentName(name))
        if grave is None or old.raw["tombstones"].get(name) != value:
            grave = _check(_Tombstone, value, f"tombstones.{name}").value()
        tombstones[_name(name, AGENTS_FILE)] = grave
    _require_ranges(agents, tombstones, first_uid)
    return Agents(agents, tombstones, raw)


def decode_entry(data: bytes, agent: AgentName, first_uid: int = LOWEST) -> AgentEntry | None:
    """Return one agent's entry of agents.json, without checking the others."""
    value = _sections(data, AGENTS_FILE, ("agents", "tombstones"))["agents"].get(agent)
    if value is None:
        return None
    entry = _check(_Agent, value, f"agents.{agent}").value()
    _require_ranges({agent: entry}, {}, first_uid)
    return entry


def encode_agents(
    agents: Mapping[AgentName, AgentEntry], tombstones: Mapping[AgentName, Tombstone], first_uid: int = LOWEST
) -> bytes:
    """Return agents.json: sorted, each agent on a few lines.

    Raises BadInput for uid ranges that `decode_agents` would refuse.
    """
    _require_ranges(agents, tombstones, first_uid)
    entries = {name: _entry_block(name, entry) for name, entry in agents.items()}
    graves = {name: _block(name, _tombstone_lines(tombstone)) for name, tombstone in tombstones.items()}
    return _document({"agents": entries, "tombstones": graves})


def _require_ranges(
    agents: Mapping[AgentName, AgentEntry], tombstones: Mapping[AgentName, Tombstone], first_uid: int
) -> None:
    given = [(f"agents.{name}", entry.settings.uid_base) for name, entry in agents.items()]
    kept = [(f"tombstones.{name}", grave.uid_base) for name, grave in tombstones.items() if name not in agents]
    require_apart([*given, *kept], first_uid)


def decode_run(data: bytes) -> dict[AgentName, RunEntry]:
    """Return run.json. Raise BadInput with the place of a fault."""
    raw = _sections(data, RUN_FILE, ("agents",))
    return {
        _name(name, RUN_FILE): _check(_Run, value, f"agents.{name}").value() for name, value in raw["agents"].items()
    }


def encode_run(run: Mapping[AgentName, RunEntry]) -> bytes:
    """Return run.json: sorted, each agent on a few lines."""
    return _document({"agents": {name: _block(name, _run_lines(entry)) for name, entry in run.items()}})


def _run_lines(entry: RunEntry) -> dict[str, object]:
    values = {"state": str(entry.state), "restarts": entry.restarts, "rebuilds": entry.rebuilds}
    marks = {"with_all": entry.with_all, "paused": entry.paused}
    grants = {"grants": [asdict(grant) for grant in entry.grants]} if entry.grants else {}
    return {
        **values,
        **{key: True for key, marked in marks.items() if marked},
        **grants,
    }  # an older hive refuses others


@lru_cache(maxsize=4096)  # a commit changes one agent of many: keep the text of the others
def _entry_block(name: AgentName, entry: AgentEntry) -> str:
    return _block(name, _entry_lines(entry))


def _block(name: AgentName, values: Mapping[str, object]) -> str:
    lines = ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    return f"    {json.dumps(name)}: {{\n{lines}\n    }}"


def _entry_lines(entry: AgentEntry) -> dict[str, object]:
    settings = entry.settings
    limits = settings.limits
    return {
        "pin": {"id": entry.pin.id, "sha": entry.pin.sha},
        "settings": {
            "role": str(settings.role),
            "uid_base": settings.uid_base,
            "limits": {
                "memory_mib": limits.memory_mib,
                "pids": limits.pids,
                "cpu_percent": limits.cpu_percent,
                **({"disk_mib": limits.disk_mib} if limits.disk_mib is not None else {}),
            },
            "isolated": settings.isolated,
        },
        **({"disowned": sorted(entry.disowned)} if entry.disowned else {}),
    }


def _tombstone_lines(tombstone: Tombstone) -> dict[str, object]:
    return {
        "pin": {"id": tombstone.pin.id, "sha": tombstone.pin.sha},
        "uid_base": tombstone.uid_base,
        **({"purge": True} if tombstone.purge else {}),
        **({"disowned": sorted(tombstone.disowned)} if tombstone.disowned else {}),
    }


def _document(sections: Mapping[str, Mapping[AgentName, str]]) -> bytes:
    lines = ["{"]
    for section, blocks in sections.items():
        inner = "{\n" + ",\n".join(blocks[name] for name in sorted(blocks)) + "\n  }" if blocks else "{}"
        lines.append(f"  {json.dumps(section)}: {inner},")
    return "\n".join([*lines, f'  "version": {VERSION}', "}", ""]).encode()


def _sections(data: bytes, file: str, names: tuple[str, ...]) -> dict[str, dict[str, JsonValue]]:
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise _fault(file, "", f"not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise _fault(file, "", "it must be an object")
    if raw.get("version") != VERSION:
        raise _fault(file, "version", f"{raw.get('version')!r} is not {VERSION}; was it written by a newer hive?")
    unknown = sorted(raw.keys() - {*names, "version"})
    if unknown:
        raise _fault(file, unknown[0], "unknown key")
    sections: dict[str, dict[str, JsonValue]] = {}
    for name in names:
        section = raw.get(name, {})
        if not isinstance(section, dict):
            raise _fault(file, name, "it must be an object")
        sections[name] = section
    return sections


def _name(text: str, file: str) -> AgentName:
    try:
        return agent_name(text)
    except HiveError as error:
        raise _fault(file, text[:40], error.summary) from error


def _check(model: type[M], value: JsonValue, place: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([place, *map(str, first["loc"])])
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise _fault(RUN_FILE if model is _Run else AGENTS_FILE, where, what) from error


def _fault(file: str, place: str, what: str) -> BadInput:
    at = f"{file}: {place}" if place else file
    branch = "run" if file == RUN_FILE else "main"
    return BadInput(f"the meta repo's {at}: {what}", f"mend {file} by a commit on branch `{branch}` of STATE/meta/.git")

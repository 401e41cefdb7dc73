"""The reference names everything that there is: settings, phases, events."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api.http.requests import Places
from api.operations.base import AnyOperation, Route, Surface
from api.operations.table import ON_LINES, OPERATIONS
from meta.agent_toml.settings import AgentSettings
from meta.applied.source import Source, SourceKind
from meta.config import Config
from reconciler.events.feed import EVENT_KINDS
from reconciler.plan.phases import PHASES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("key", list(Config.model_fields))
def test_every_setting_of_the_daemon_is_documented_with_its_default_and_meaning(key: str) -> None:
    field = Config.model_fields[key]
    row = f"| `HIVE_{key.upper()}` | `{field.default!r}` | {field.description} |"
    assert row in (REFERENCE / "configuration.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("phase", list(PHASES))
def test_every_phase_is_documented(phase: str) -> None:
    assert f"| `{phase}` | {PHASES[phase]} |" in (REFERENCE / "phases.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("key", list(AgentSettings.model_fields))
def test_every_key_of_agent_toml_is_documented(key: str) -> None:
    assert f"`{key}`" in (REFERENCE / "agent-toml.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(EVENT_KINDS))
def test_every_event_has_a_heading(kind: str) -> None:
    assert f"`{kind}`" in (REFERENCE / "events.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", list(SourceKind))
def test_every_kind_of_source_is_documented_with_an_example(kind: SourceKind) -> None:
    text = (REFERENCE / "proposals.md").read_text(encoding="utf-8")
    examples = re.findall(rf"^\| `{kind}` \| `([^`]+)` \|", text, re.MULTILINE)
    assert [Source.parse(example).kind for example in examples] == [kind]


ROUTES = [
    pytest.param(operation, route, id=f"{route.method} {route.path}")
    for operation in OPERATIONS
    for route in operation.routes
]


@pytest.mark.parametrize(("operation", "route"), ROUTES)
def test_every_route_is_documented_with_everything_that_it_takes(operation: AnyOperation, route: Route) -> None:
    text = (REFERENCE / "http.md").read_text(encoding="utf-8")
    places = Places(operation.input, route)
    fields = {*places.body, *places.query} - route.query
    section, found = "", []
    for line in text.splitlines():
        section = line.split("|")[1].strip() if line.startswith(("| GET |", "| POST |", "| | |")) else section
        told = f"| {route.method} | `{route.path}` |" in line or (
            section == route.method and line.startswith(f"| `{route.path}` |")
        )
        found += [line] if told else []
    said = "\n".join(found) or next((part for part in text.split("\n## ") if f"`GET {route.path}`" in part), "")
    assert said
    assert not {field for field in fields if f"`{field}" not in said}


def test_no_route_is_documented_that_is_not_there() -> None:
    text = (REFERENCE / "http.md").read_text(encoding="utf-8")
    paths = {route.path for operation in OPERATIONS for route in operation.routes} | {"/openapi.json"}
    assert set(re.findall(r"`(?:GET |POST )?(/(?:api/)[^`?]*)[`?]", text)) <= paths


@pytest.mark.parametrize("surface", list(ON_LINES))
def test_every_request_of_a_socket_is_documented(surface: Surface) -> None:
    rows = (REFERENCE / "wire.md").read_text(encoding="utf-8").splitlines()
    row = {line.split("`")[1]: line for line in rows if line.startswith("| `")}
    said = row[surface] + (row[Surface.AGENT] if surface is Surface.MANAGER else "")
    for request in ON_LINES[surface]:
        assert f"`{request.model_fields['cmd'].default}`" in said


def test_every_link_between_the_documents_leads_somewhere() -> None:
    root = REFERENCE.parents[1]
    for page in [*root.glob("*.md"), *root.glob("docs/**/*.md")]:
        prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"

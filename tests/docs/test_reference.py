"""The reference names everything that there is: settings, phases, events."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.config import Config
from meta.settings import AgentSettings
from reconciler.events import EVENT_KINDS
from reconciler.phase import PHASES

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


def test_every_link_between_the_documents_leads_somewhere() -> None:
    import re

    root = REFERENCE.parents[1]
    for page in [*root.glob("*.md"), *root.glob("docs/**/*.md")]:
        prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"

"""Which settings a runtime obeys, as data. Standard library only.

agent.toml may have every setting with every runtime, so that changing the runtime is one line. What a runtime cannot be
held to is shown to the operator before approval, and noted by the harness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meta.agent_toml.runtimes import RuntimeName


@dataclass(frozen=True, slots=True)
class Obeyed:
    """True for each setting that a runtime obeys; the others do nothing with it.

    `allow` and `deny` are those of permissions, `max_turns` is in limits, `dollars` in budget.
    """

    allow: bool
    deny: bool
    max_turns: bool
    dollars: bool


_OBEYED: Mapping[RuntimeName, Obeyed] = MappingProxyType(
    {
        # it has neither tools of its own nor a model
        "script": Obeyed(allow=False, deny=False, max_turns=False, dollars=False),
        "claude": Obeyed(allow=True, deny=True, max_turns=True, dollars=True),
        # it runs most commands and tools of others without asking
        "codex": Obeyed(allow=False, deny=False, max_turns=False, dollars=False),
        "gemini": Obeyed(allow=True, deny=True, max_turns=False, dollars=False),
        "opencode": Obeyed(allow=True, deny=True, max_turns=False, dollars=True),
        "claude-acp": Obeyed(allow=True, deny=True, max_turns=False, dollars=True),
        # any agent: hive can only refuse what it asks about
        "acp": Obeyed(allow=False, deny=False, max_turns=False, dollars=False),
    }
)


def obeyed(runtime: str) -> Obeyed:
    """Return what `runtime` obeys. One that this hive does not know counts as obeying nothing."""
    return next((row for name, row in _OBEYED.items() if name == runtime), _OBEYED["acp"])

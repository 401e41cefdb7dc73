"""Make the runtime that agent.toml names. Each is imported only if an agent has it: a start must be fast."""

from __future__ import annotations

from harness.environment import Environment
from harness.runtimes.base import Runtime, RuntimeSpec, Tools
from meta.errors import BadInput


def make_runtime(spec: RuntimeSpec, environment: Environment, tools: Tools) -> Runtime:
    """Return the runtime of `spec`. It starts no process. Raise BadInput if this harness lacks it."""
    name = spec.settings.runtime
    if name == "script":
        from harness.runtimes.script import ScriptRuntime

        return ScriptRuntime(spec.settings, environment, tools)
    if name == "claude":
        from harness.runtimes.claude.adapter import ClaudeRuntime

        return ClaudeRuntime(spec)
    from harness.runtimes.acp.adapter import AcpRuntime
    from harness.runtimes.acp.table import PRESETS

    preset = PRESETS.get(name)
    if preset is None:
        raise BadInput(f"this harness has no runtime {name!r}", 'set runtime = "claude" or runtime = "script"')
    return AcpRuntime(spec, preset)

"""The keys of agent.toml, as comments for a person who edits it."""

from __future__ import annotations

GUIDE = """#? The keys that there are. Lines that begin with #? as these do are not saved.
#? runtime = "claude"         script, claude, codex, gemini, opencode, claude-acp, acp
#? command = ["agent", "-x"]  the CLI, instead of the runtime's own
#? model = "opus"             instead of the runtime's default
#? label, description         shown to people
#? prompt = '''...'''         added to hive's own prompt; {self}, {label}, {description}, {role}
#? recipients = ["operator"]  whom it may write to; the manager always; "*" is everybody
#? auto_propose = true        commits on main of its proposed work tree become proposals
#? env = { EDITOR = "true" }  for the CLI and its tools; no secrets
#? permissions = { allow = ["Read"], deny = ["WebFetch"] }
#? budget = { turns = 50, tokens = 1_000_000, dollars = 5.0 }   the most per day
#? limits = { turn_seconds = 3600, max_turns = 100, silence_seconds = 600, tool_seconds = 1800 }
#? network = { allow = ["crates.io", "@python"], defaults = true }   what it may reach
#? [scope]                    allow = [{ target = "/state/work", permission = "write" }], deny = [...]: its paths
#? pods = { max = 4 }         how many sub-agents it may have at a time
#? [[workspace]]              url = "https://...", branch = "main", path = "tools": cloned at the first start
#? [mcp_servers.files]        command = ["files-mcp"], env = {}, or url = "https://...", headers = {}
#? [[script]]                 rules of the runtime "script"
#? [start]                    faults on purpose
#? All of it: docs/reference/agent-toml.md
"""

KEYS = "\n".join(line.removeprefix("#? ") for line in GUIDE.strip().split("\n")[1:-1])
"""The lines of the keys alone, for the prompt of the manager."""

_LINES = frozenset(GUIDE.strip().split("\n"))


def with_guide(text: str) -> str:
    """Return the text of an agent.toml with the guide below it."""
    return f"{text.rstrip()}\n\n{GUIDE}"


def without_guide(text: str, before: str) -> str:
    """Return what was edited, without the lines of the guide. `before` is the text that the guide was put below.

    What was written between or below the lines stays. Text that was not changed is exactly `before`.
    """
    lines = text.split("\n")
    kept = [line for line in lines if line not in _LINES]
    if len(kept) == len(lines):
        return text
    edited = "\n".join(kept).rstrip() + "\n"
    return before if edited == before.rstrip() + "\n" else edited

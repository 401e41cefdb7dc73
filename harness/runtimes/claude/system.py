"""The lines of the CLI whose type is `system`, by their subtype: what they show and what they say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.runtimes.claude.facts import Boundary, Init, NotCompacted
from harness.runtimes.claude.values import (
    Object,
    Parts,
    as_amount,
    as_count,
    as_object,
    as_objects,
    as_sentence,
    as_text,
    as_word,
)
from meta.wire.live import Notice, Unknown


def read_system(line: Object) -> Parts:
    """Read a line of this type."""
    subtype = as_word(line.get("subtype"))
    read = _SYSTEM.get(subtype)
    if read is not None:
        yield from read(line)
    elif not subtype.startswith(_QUIET):
        yield Unknown(name=f"system/{subtype}")


_QUIET = (
    "hook_",
    "task_",
    "background_tasks_",
    "session_state_",
    "thinking_tokens",
    "local_command",
    "turn_",
    "files_",
)


def _init(line: Object) -> Parts:
    servers = {
        as_word(entry.get("name")): as_word(entry.get("status")) for entry in as_objects(line.get("mcp_servers"))
    }
    for name, state in servers.items():
        if state not in ("connected", "pending"):
            yield Notice(level="warn", text=f"the MCP server {name} is {state}: its tools are missing in this turn")
    yield Init(as_text(line.get("session_id")), as_word(line.get("model")), servers)


def _api_retry(line: Object) -> Parts:
    status = line.get("error_status")
    what = f"{status}, {as_word(line.get('error'))}" if status else as_word(line.get("error"))
    tries = f"attempt {as_count(line.get('attempt')) or 0} of {as_count(line.get('max_retries')) or 0}"
    wait = (as_amount(line.get("retry_delay_ms")) or 0) / 1000
    yield Notice(level="warn", text=f"the model's API failed ({what}): {tries}, again in {wait:.1f} s")


def _status(line: Object) -> Parts:
    if line.get("status") == "compacting":
        yield Notice(text="compacting the conversation")
    failed = line.get("compact_result")
    if failed not in (None, "success"):
        error = as_sentence(line.get("compact_error")) or as_word(failed)
        yield Notice(level="error", text=f"the compaction failed: {error}")
        yield NotCompacted(error)


def _boundary(line: Object) -> Parts:
    metadata = as_object(line.get("compact_metadata"))
    before, after = as_count(metadata.get("pre_tokens")), as_count(metadata.get("post_tokens"))
    yield Notice(text=f"compacted the conversation from {before} to {after} tokens")
    yield Boundary(before, after)


def _denied(line: Object) -> Parts:
    yield Notice(level="warn", text=f"{as_word(line.get('tool_name'))} was denied: {as_sentence(line.get('message'))}")


def _sentence(line: Object) -> Parts:
    yield Notice(level="warn", text=as_sentence(as_text(line.get("content")) or line.get("text")))


def _held(line: Object) -> Parts:
    yield Notice(level="warn", text="a message of another session of this CLI was held back")


_SYSTEM: Mapping[str, Callable[[Object], Parts]] = {
    "init": _init,
    "api_retry": _api_retry,
    "status": _status,
    "compact_boundary": _boundary,
    "permission_denied": _denied,
    "model_fallback": _sentence,
    "notification": _sentence,
    "informational": _sentence,
    "peer_message_hold": _held,
}

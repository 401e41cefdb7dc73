"""The daemon's log on stderr: for a terminal, for the journal, or as JSON, with agent and step beside each line.

The code logs with `logging.getLogger`; structlog only formats the lines. Every text passes `meta.text.scrub`, as
tags do, which removes secrets and control characters.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Literal, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.types import EventDict, Processor, WrappedLogger

from meta.text import one_line, scrub
from reconciler.common.log_limit import LogLimit
from reconciler.telemetry import activity

Kind = Literal["console", "journal", "json"]
TEXT_LIMIT = 16_000
"""Characters of one text. A longer text keeps its end."""

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""The numbers of sd-daemon(3)."""


def set_up(wanted: str, environment: Mapping[str, str] = os.environ, stream: TextIO = sys.stderr) -> None:
    """Configure logging to write to `stream`. `wanted` is the value of HIVE_LOG_FORMAT."""
    root = logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(kind_of(wanted, environment, stream), colors=stream.isatty()))
    handler.addFilter(LogLimit())  # what an agent causes; see there
    for old in [handler for handler in root.handlers if isinstance(handler.formatter, ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def kind_of(wanted: str, environment: Mapping[str, str], stream: TextIO) -> Kind:
    """Return the log format.

    `auto` means journal if systemd connected `stream` to the journal, and console otherwise.
    """
    detected = "journal" if _is_journal(environment.get("JOURNAL_STREAM", ""), stream) else "console"
    return cast(Kind, detected if wanted == "auto" else wanted)


def formatter(kind: Kind, *, colors: bool = False) -> ProcessorFormatter:
    """Return the formatter. It turns each log record into one line, or into several for the journal."""
    before: list[Processor] = [structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, _add_activity]
    after: dict[Kind, list[Processor]] = {
        "console": [
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            _exception,
            _scrub,
            structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0),
        ],
        "journal": [_exception, _scrub, _for_journal],
        "json": [
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _exception,
            _scrub,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    }
    return ProcessorFormatter(
        processors=[ProcessorFormatter.remove_processors_meta, *after[kind]], foreign_pre_chain=before
    )


def _is_journal(stream_id: str, stream: TextIO) -> bool:
    """Return True if `stream` is the journal.

    Compare device and inode, because a child with another stderr inherits JOURNAL_STREAM too.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return stream_id == f"{status.st_dev}:{status.st_ino}"


def _add_activity(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {**event, **activity.facts()}


def _exception(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return structlog.processors.format_exc_info(logger, method, event)


def _scrub(logger: WrappedLogger, method: str, event: EventDict) -> MutableMapping[str, object]:
    clean: dict[str, object] = {}
    for key, value in event.items():
        text = value if isinstance(value, str) else repr(value)
        clean[key] = scrub(text, TEXT_LIMIT) if key in ("event", "exception") else one_line(text)
    return clean


def _for_journal(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Return `<4>name: text key=value`. Each line has the priority, because the journal makes an entry of each line."""
    level, name, text = (str(event.pop(key, "")) for key in ("level", "logger", "event"))
    exception = str(event.pop("exception", ""))
    facts = "".join(f" {key}={value}" for key, value in event.items())
    first, *rest = text.split("\n")
    lines = [f"{name}: {first}{facts}", *rest, *(exception.split("\n") if exception else [])]
    return "\n".join(f"<{_PRIORITIES.get(level, 6)}>{line}" for line in lines)

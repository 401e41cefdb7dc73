"""Rules of the script runtime: the actions for a message that matches. Part of agent.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")
_BUILT_IN = frozenset({"sender", "body", "commit", "self"})
_GROUP = re.compile(r"\(\?P<(\w+)>")
_PATTERN_LIMIT = 500
_REMIND_LIMIT = 366 * 86_400

ExitCode = Annotated[int, Field(ge=0, le=255)]


class Table(BaseModel):
    """A table that people write: immutable, strict, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Send(Table):
    """Send a message."""

    to: str
    body: str


class Commit(Table):
    """Write `content` to `file` in the proposed work tree of `agent` and commit it."""

    agent: str
    file: str
    content: str
    message: str


class Ask(Table):
    """Ask `to` a question. The answer comes as a helper event."""

    to: str
    question: str
    options: list[str] = Field(default_factory=list)
    multi: bool = False


class Remind(Table):
    """Schedule a reminder: `message` arrives from `reminder` in `seconds` seconds."""

    message: str
    seconds: int = Field(ge=0, le=_REMIND_LIMIT)


class Request(Table):
    """Request approval of the head of the proposed work tree of `agent`."""

    agent: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send `text` to the sender."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the question in the message."""

    text: str


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait `seconds` within the turn."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Crash:
    """End the harness at once with an exit code; None ends it by SIGKILL."""

    code: int | None


Action = Reply | Send | Ask | Answer | Remind | Commit | Request | Sleep | Crash
_ACTIONS = ("reply", "send", "ask", "answer", "remind", "commit", "request", "sleep", "crash")


class ScriptRule(Table):
    r"""A rule: for a message that matches, do the actions in the order of the file.

    `when` must match the whole body and `from` the whole sender (`.` matches newlines too); if one is left out,
    everything matches. In texts `{name}` is the group `(?P<name>...)` of `when`, or `{sender}`, `{body}`, `{self}`
    (this agent), `{commit}` (what the last commit or request of this turn was about); `{{name}}` stands for itself.

    The patterns are not compiled here: that can take seconds for a hostile one, and the daemon reads these rules too.
    """

    when: str = Field(default=".*", max_length=_PATTERN_LIMIT)
    sender: str = Field(default=".*", max_length=_PATTERN_LIMIT, validation_alias="from", serialization_alias="from")
    reply: str | None = None
    send: Send | None = None
    ask: Ask | None = None
    answer: str | None = None
    remind: Remind | None = None
    commit: Commit | None = None
    request: Request | None = None
    sleep: float | None = Field(default=None, ge=0, le=86_400)
    crash: bool | ExitCode | None = None
    _order: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        rule = handler(data)
        rule._order = tuple(key for key in data if key in _ACTIONS) if isinstance(data, dict) else ()
        known = _BUILT_IN | set(_GROUP.findall(rule.when))
        for key, text in rule._texts():
            unknown = sorted({match[2] for match in _PLACEHOLDER.finditer(text) if match[2]} - known)
            if unknown:
                raise ValueError(
                    f"{key}: {{{unknown[0]}}} is not a group of `when`; write {{{{{unknown[0]}}}}} for the text"
                )
        return rule

    @property
    def actions(self) -> tuple[Action, ...]:
        """Return the actions in the order of the file."""
        return tuple(action for key in self._order if (action := self._action(key)) is not None)

    @property
    def order(self) -> tuple[str, ...]:
        """Return the keys of the actions in the order of the file."""
        return self._order

    def _action(self, key: str) -> Action | None:
        if key == "reply" and self.reply is not None:
            return Reply(self.reply)
        if key == "answer" and self.answer is not None:
            return Answer(self.answer)
        if key == "sleep" and self.sleep is not None:
            return Sleep(self.sleep)
        if key == "crash" and self.crash is not None and self.crash is not False:
            return Crash(None if self.crash is True else self.crash)
        return self._tables().get(key)

    def _tables(self) -> dict[str, Send | Ask | Remind | Commit | Request]:
        tables = {
            "send": self.send,
            "ask": self.ask,
            "remind": self.remind,
            "commit": self.commit,
            "request": self.request,
        }
        return {key: table for key, table in tables.items() if table is not None}

    def _texts(self) -> Iterator[tuple[str, str]]:
        for key, text in (("reply", self.reply), ("answer", self.answer)):
            if text is not None:
                yield key, text
        for key, table in self._tables().items():
            for name, value in table.model_dump().items():
                yield from ((f"{key}.{name}", text) for text in _strings(value))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (text for text in value if isinstance(text, str))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return `text` with its placeholders filled (see ScriptRule).

    A group that did not match becomes the empty text.
    """
    return _PLACEHOLDER.sub(lambda match: f"{{{match[1]}}}" if match[1] else values.get(match[2], ""), text)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile the pattern of a rule. Raise ValueError if it is invalid. Only for the harness: it can take seconds."""
    try:
        return re.compile(pattern, re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"is not a regular expression: {error}") from error

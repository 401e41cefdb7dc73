"""The parts that the wire types share: the base class, the integers' bounds, approvals, messages, loose ends.

Keys are in the order of the fields. A field marked Omitted is left out if it is None; other optional fields are `null`.
`from` is a keyword in Python, so the field is called `sender` there and `from` on the wire.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

U32 = Annotated[int, Field(ge=0, le=2**32 - 1)]
U64 = Annotated[int, Field(ge=0, le=2**64 - 1)]
I64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""A JSON array of strings. The array may become a tuple; its items are strict."""


def _is_none(value: object) -> bool:
    return value is None


Omitted = Field(exclude_if=_is_none)


def doc(what: str, example: JsonValue, **bounds: JsonValue) -> Any:  # as pydantic's Field, whose type is Any too
    """Return a field with a meaning and an example, for the people and models that fill it in.

    `bounds` appear only in the JSON schema of the field. The wire has no bounds; hive checks them after parsing.
    """
    return Field(description=what, examples=[example], json_schema_extra={**bounds} if bounds else None)


Sender = Annotated[str, Field(validation_alias="from", serialization_alias="from")]


class Wire(BaseModel):
    """The base of every wire type: immutable and strict. It ignores unknown fields."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class Adjacent(Wire):
    """The base of the variants of an enum with two fields, tag and content. `content` names the second."""

    content: ClassVar[str]


class Body(Wire):
    """The base of the content of one variant, which is never written as an array."""


class Lone(Wire):
    """The base of an enum with one variant. `tag` names its tag field, which has no default."""

    tag: ClassVar[str]


class ApprovalKind(StrEnum):
    """The action that an approval triggers."""

    APPLY_COMMIT = "apply_commit"
    SPAWN = "spawn"


class ApprovalStatus(StrEnum):
    """The state of an approval."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    FAILED = "failed"


class CancelLooseEndKind(StrEnum):
    """The kinds of loose ends that `cancel_loose_end` can cancel."""

    QUESTION = "question"
    REMINDER = "reminder"


Kind = Annotated[ApprovalKind, Field(strict=False)]
StatusOf = Annotated[ApprovalStatus, Field(strict=False)]


class Approval(Wire):
    """One card. `commit_ref` is the proposer's claim (empty for a spawn), `fetched_sha` the commit that hive pinned.
    Times are Unix seconds.
    """

    id: I64
    agent: str
    kind: Kind = ApprovalKind.APPLY_COMMIT
    commit_ref: str
    fetched_sha: Annotated[str | None, Omitted] = None
    requested_at: I64
    status: StatusOf
    resolved_at: Annotated[I64 | None, Omitted] = None
    note: Annotated[str | None, Omitted] = None
    description: Annotated[str | None, Omitted] = None


class Message(Wire):
    """A message between agents."""

    sender: Sender
    to: str
    body: str


class InboxRow(Wire):
    """One row of an inbox; `at` in Unix seconds."""

    id: I64
    sender: Sender
    body: str
    at: I64


class InSeconds(Wire):
    """Remind after this many seconds."""

    timing_type: Literal["in_seconds"] = "in_seconds"
    seconds: Annotated[U64, doc("in so many seconds from now", 600)]


class At(Wire):
    """Remind at a Unix time."""

    timing_type: Literal["at"] = "at"
    unix_timestamp: Annotated[I64, doc("at this Unix time, in seconds", 1_893_456_000)]


ReminderTiming = Annotated[InSeconds | At, Field(discriminator="timing_type")]


class ApprovalEnd(Wire):
    """A pending approval."""

    kind: Literal["approval"] = "approval"
    id: I64
    agent: str
    commit_ref: str
    description: Annotated[str | None, Omitted] = None
    age_seconds: U64


class QuestionEnd(Wire):
    """An unanswered question; without a target it is for the operator."""

    kind: Literal["question"] = "question"
    id: I64
    asker: str
    target: Annotated[str | None, Omitted] = None
    question: str
    age_seconds: U64


class ReminderEnd(Wire):
    """A reminder that is not due yet; `due_at` in Unix seconds."""

    kind: Literal["reminder"] = "reminder"
    id: I64
    owner: str
    message: str
    due_at: I64
    age_seconds: U64


LooseEnd = Annotated[ApprovalEnd | QuestionEnd | ReminderEnd, Field(discriminator="kind")]
LooseEnds = Annotated[tuple[LooseEnd, ...], Field(strict=False)]
InboxRows = Annotated[tuple[InboxRow, ...], Field(strict=False)]

"""An agent's socket (`mcp.sock`): requests and responses. The caller is the agent that the socket belongs to.

The manager's socket shares all of these but Wake (see meta.wire.manager).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from meta.names import NAME_LIMIT
from meta.wire import limits
from meta.wire.common import (
    I64,
    U64,
    CancelLooseEndKind,
    InboxRows,
    LooseEnds,
    Omitted,
    ReminderTiming,
    Sender,
    Texts,
    Wire,
    doc,
)


class Send(Wire):
    """Send a message."""

    cmd: Literal["send"] = "send"
    to: Annotated[
        str,
        doc(
            'who gets it: an agent\'s name, "manager", "operator", or "*" for every other agent and the manager',
            "bob",
            maxLength=NAME_LIMIT,
            pattern=limits.RECIPIENT_PATTERN,
        ),
    ]
    body: Annotated[str, doc("the text, at most 1 MiB of UTF-8", "the tests pass now", maxLength=limits.BODY_BYTES)]


class Recv(Wire):
    """Take one message, waiting up to `wait_seconds` (None = 30, at most 60)."""

    cmd: Literal["recv"] = "recv"
    wait_seconds: Annotated[
        U64 | None,
        doc(
            "how long to wait when there is no message: 0 only looks, 30 when absent, at most 60",
            30,
            maximum=limits.WAIT_MOST,
        ),
    ] = None


class Status(Wire):
    """Count the caller's unread messages."""

    cmd: Literal["status"] = "status"


class OperatorMsg(Wire):
    """A message to this agent, from the operator."""

    cmd: Literal["operator_msg"] = "operator_msg"
    body: str


class Wake(Wire):
    """A message to this agent from a program inside its container, which names itself."""

    cmd: Literal["wake"] = "wake"
    sender: Sender
    body: str


class Recent(Wire):
    """The last messages to this agent, newest first; takes none."""

    cmd: Literal["recent"] = "recent"
    limit: U64


class Ask(Wire):
    """Ask the operator (`to` None or "operator") or an agent; the answer comes as an event."""

    cmd: Literal["ask"] = "ask"
    question: Annotated[
        str,
        doc(
            "what to ask, at most 16 KiB of UTF-8",
            "May I delete the old branch?",
            minLength=1,
            maxLength=limits.QUESTION_BYTES,
        ),
    ]
    options: Annotated[
        Texts,
        doc(
            "answers to offer, at most 50 of 1 KiB; a free text can always be given instead",
            ["yes", "no"],
            maxItems=limits.OPTIONS_MOST,
            uniqueItems=True,
            items={"type": "string", "minLength": 1, "maxLength": limits.OPTION_BYTES},
        ),
    ] = ()
    multi: Annotated[bool, doc('true when several options may be chosen; they come joined by ", "', False)] = False
    ttl_seconds: Annotated[
        U64 | None, doc('after so many seconds the answer is "[expired]"; never when absent', 3600)
    ] = None
    to: Annotated[
        str | None,
        doc(
            "who is asked: an agent's name, or the operator when absent",
            "bob",
            maxLength=NAME_LIMIT,
            pattern=limits.NAME_PATTERN,
        ),
    ] = None


class Answer(Wire):
    """Answer a question that was put to the caller."""

    cmd: Literal["answer"] = "answer"
    id: Annotated[I64, doc("the question's id, as its event or the loose ends show it", 12, minimum=0)]
    answer: Annotated[
        str,
        doc(
            'one of the options or any other text, at most 64 KiB of UTF-8; several options joined by ", "',
            "yes",
            minLength=1,
            maxLength=limits.ANSWER_BYTES,
        ),
    ]


class Remind(Wire):
    """Send the caller a message later; `file_path` keeps a long one in a file."""

    cmd: Literal["remind"] = "remind"
    message: Annotated[
        str,
        doc(
            "the text of the reminder, at most 256 KiB of UTF-8; over 4 KiB it is kept in a file",
            "look whether the build is done",
            minLength=1,
            maxLength=limits.REMINDER_BYTES,
        ),
    ]
    timing: Annotated[ReminderTiming, doc("when", {"timing_type": "in_seconds", "seconds": 600})]
    file_path: Annotated[
        str | None,
        doc(
            "keep the text in this file below /state/reminders/; the message then points to it",
            "build.md",
            minLength=1,
            maxLength=limits.FILE_PATH_MOST,
        ),
    ] = None


class GetLooseEnds(Wire):
    """List what is open: approvals, questions, reminders."""

    cmd: Literal["get_loose_ends"] = "get_loose_ends"


class CountPendingReminders(Wire):
    """Count the caller's reminders that are not due yet."""

    cmd: Literal["count_pending_reminders"] = "count_pending_reminders"


class Whoami(Wire):
    """Name, role and revision."""

    cmd: Literal["whoami"] = "whoami"


class CancelLooseEnd(Wire):
    """Cancel a question or a reminder."""

    cmd: Literal["cancel_loose_end"] = "cancel_loose_end"
    kind: Annotated[CancelLooseEndKind, Field(strict=False), doc("what it is", "question")]
    id: Annotated[I64, doc("its id, as the loose ends show it", 12, minimum=0)]


class AckTurn(Wire):
    """Acknowledge everything that the caller took since its last acknowledgement."""

    cmd: Literal["ack_turn"] = "ack_turn"


class RequeueInflight(Wire):
    """Deliver again everything that the caller took and did not acknowledge."""

    cmd: Literal["requeue_inflight"] = "requeue_inflight"


AgentRequest = Annotated[
    Send
    | Recv
    | Status
    | OperatorMsg
    | Wake
    | Recent
    | Ask
    | Answer
    | Remind
    | GetLooseEnds
    | CountPendingReminders
    | Whoami
    | CancelLooseEnd
    | AckTurn
    | RequeueInflight,
    Field(discriminator="cmd"),
]


class OkResponse(Wire):
    """The answer to a request that succeeded."""

    kind: Literal["ok"] = "ok"


class ErrResponse(Wire):
    """The answer to a request that failed, with the reason."""

    kind: Literal["err"] = "err"
    message: str


class MessageResponse(Wire):
    """One message. `redelivered`: it was taken before and not acknowledged."""

    kind: Literal["message"] = "message"
    sender: Sender
    body: str
    id: I64 = 0
    redelivered: bool = False


class EmptyResponse(Wire):
    """No message came in time."""

    kind: Literal["empty"] = "empty"


class StatusResponse(Wire):
    """The number of messages that wait."""

    kind: Literal["status"] = "status"
    unread: U64


class RecentResponse(Wire):
    """Rows of the inbox, newest first."""

    kind: Literal["recent"] = "recent"
    rows: InboxRows


class QuestionQueuedResponse(Wire):
    """The question's id."""

    kind: Literal["question_queued"] = "question_queued"
    id: I64


class LooseEndsResponse(Wire):
    """The loose ends, newest first within each kind."""

    kind: Literal["loose_ends"] = "loose_ends"
    loose_ends: LooseEnds


class PendingRemindersCountResponse(Wire):
    """Reminders that are not due yet."""

    kind: Literal["pending_reminders_count"] = "pending_reminders_count"
    count: U64


class WhoamiResponse(Wire):
    """The owner of the socket. `role` is "agent" or "manager"."""

    kind: Literal["whoami"] = "whoami"
    name: str
    role: str
    hyperhive_rev: Annotated[str | None, Omitted] = None


AgentResponse = Annotated[
    OkResponse
    | ErrResponse
    | MessageResponse
    | EmptyResponse
    | StatusResponse
    | RecentResponse
    | QuestionQueuedResponse
    | LooseEndsResponse
    | PendingRemindersCountResponse
    | WhoamiResponse,
    Field(discriminator="kind"),
]

AGENT_REQUEST: TypeAdapter[AgentRequest] = TypeAdapter(AgentRequest)
AGENT_RESPONSE: TypeAdapter[AgentResponse] = TypeAdapter(AgentResponse)

"""Helper events: hive sends them to agents as the JSON body of a message from `system`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from meta.wire.common import I64, Omitted, StatusOf, Texts, Wire


class ApprovalResolved(Wire):
    """An approval ended. `tag` is the last tag in the applied repo (`deployed/7`), `sha` what hive had pinned."""

    event: Literal["approval_resolved"] = "approval_resolved"
    id: I64
    agent: str
    commit_ref: str
    status: StatusOf
    note: Annotated[str | None, Omitted] = None
    sha: Annotated[str | None, Omitted] = None
    tag: Annotated[str | None, Omitted] = None


class Spawned(Wire):
    """A new agent was created, or its creation failed."""

    event: Literal["spawned"] = "spawned"
    agent: str
    ok: bool
    note: Annotated[str | None, Omitted] = None
    sha: Annotated[str | None, Omitted] = None


class Rebuilt(Wire):
    """An agent was rebuilt, or the rebuild failed."""

    event: Literal["rebuilt"] = "rebuilt"
    agent: str
    ok: bool
    note: Annotated[str | None, Omitted] = None
    sha: Annotated[str | None, Omitted] = None
    tag: Annotated[str | None, Omitted] = None


class Killed(Wire):
    """An agent was stopped."""

    event: Literal["killed"] = "killed"
    agent: str


class Destroyed(Wire):
    """An agent's container was removed."""

    event: Literal["destroyed"] = "destroyed"
    agent: str


class NeedsLogin(Wire):
    """An agent waits for a login, which only a person can do."""

    event: Literal["needs_login"] = "needs_login"
    agent: str


class LoggedIn(Wire):
    """An agent is logged in now."""

    event: Literal["logged_in"] = "logged_in"
    agent: str


class NeedsUpdate(Wire):
    """An agent was built with another hive, nixpkgs or agentModules than a rebuild would use."""

    event: Literal["needs_update"] = "needs_update"
    agent: str


class ContainerCrash(Wire):
    """An agent ended without a request to stop it."""

    event: Literal["container_crash"] = "container_crash"
    agent: str
    note: Annotated[str | None, Omitted] = None


class QuestionAnswered(Wire):
    """The answer to a question of the receiver's."""

    event: Literal["question_answered"] = "question_answered"
    id: I64
    question: str
    answer: str
    answerer: str


class QuestionAsked(Wire):
    """A question to the receiver."""

    event: Literal["question_asked"] = "question_asked"
    id: I64
    asker: str
    question: str
    options: Texts = ()
    multi: bool = False


class MessageDead(Wire):
    """A message of the receiver's was never handled: too many turns with it failed. hive keeps it as a dead letter.

    `id` and `to` name it, `body` is its beginning.
    """

    event: Literal["message_dead"] = "message_dead"
    id: I64
    to: str
    body: str
    attempts: I64


HelperEvent = Annotated[
    ApprovalResolved
    | Spawned
    | Rebuilt
    | Killed
    | Destroyed
    | NeedsLogin
    | LoggedIn
    | NeedsUpdate
    | ContainerCrash
    | QuestionAnswered
    | QuestionAsked
    | MessageDead,
    Field(discriminator="event"),
]

HELPER_EVENT: TypeAdapter[HelperEvent] = TypeAdapter(HelperEvent)

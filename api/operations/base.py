"""What one operation is, and how it shows on the surfaces.

    Operation   name, summary, input, output, principals, handler, and its faces
      Line      on a line socket: the wire's request type, and the answer as the wire has it
      Route     on the operator's http.sock: method and path; fields come from path, query, header and body
      Tool      on /mcp: the arguments are those of its Line, the answer is text

A handler gets who calls beside its input. The socket decides that, so no input can change it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from api.sockets.principals import Agent, Manager, Operator, Principal
from meta.errors import BadInput
from meta.names import OPERATOR, AgentName, ProposalId, agent_name, proposal_id
from meta.wire.agent import OkResponse
from meta.wire.common import Wire
from meta.wire.host import HostResponse
from meta.wire.limits import NAME_PATTERN

if TYPE_CHECKING:
    from reconciler.agents.lifecycle import Service


class Surface(StrEnum):
    """A way in."""

    HOST = "host.sock"
    MANAGER = "manager/mcp.sock"
    AGENT = "agents/<n>/mcp.sock"
    HTTP = "http"
    MCP = "mcp"


class Role(StrEnum):
    """What kind of principal calls."""

    OPERATOR = "operator"
    MANAGER = "manager"
    AGENT = "agent"


OPERATORS = frozenset({Role.OPERATOR})
AGENTS = frozenset({Role.MANAGER, Role.AGENT})
LEADERS = frozenset({Role.OPERATOR, Role.MANAGER})
EVERYBODY = frozenset(Role)

SPEAKER: Mapping[Surface, Role] = {
    Surface.HOST: Role.OPERATOR,
    Surface.HTTP: Role.OPERATOR,
    Surface.MANAGER: Role.MANAGER,
    Surface.AGENT: Role.AGENT,
}
"""Who is at the other end. `/mcp` is on every http.sock, so there it is whoever the socket belongs to."""


def role_of(principal: Principal) -> Role:
    """The role of a principal."""
    match principal:
        case Operator():
            return Role.OPERATOR
        case Manager():
            return Role.MANAGER
        case Agent():
            return Role.AGENT


Written = Callable[[bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler gets beside its input. `stopping` is set when the daemon ends.

    What a handler puts into `after` is awaited once its answer was written (True) or could not be (False).
    """

    service: Service
    principal: Principal
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    after: list[Written] = field(default_factory=list)

    @property
    def role(self) -> Role:
        """The caller's role."""
        return role_of(self.principal)

    @property
    def who(self) -> str:
        """The caller, as it is recorded in tags and logs ("operator uid 1000", "agent alice")."""
        return self.principal.who

    @property
    def name(self) -> str:
        """The caller, as an address: "operator" or the agent's name."""
        return OPERATOR if isinstance(self.principal, Operator) else self.principal.name


class Input(BaseModel):
    """An input that is no wire type: strict, and a key that is not known is refused, since it is probably a slip."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Nothing(Input):
    """No keys."""


AgentField = Annotated[
    AgentName,
    AfterValidator(agent_name),
    Field(description="an agent's name", examples=["alice"], json_schema_extra={"pattern": NAME_PATTERN}),
]
IdField = Annotated[
    ProposalId,
    AfterValidator(proposal_id),
    Field(description="a proposal's id", examples=[7], json_schema_extra={"minimum": 0, "maximum": 2**63 - 1}),
]

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Line(Generic[Out]):
    """On line sockets. `response` is the answer as the wire has it there."""

    request: type[Wire]
    surfaces: frozenset[Surface]
    response: Callable[[Out], Wire]

    @property
    def cmd(self) -> str:
        """The request's name on the wire."""
        return str(self.request.model_fields["cmd"].default)


@dataclass(frozen=True, slots=True)
class Route:
    """On the operator's http.sock. The input's fields that are neither in the path nor named here are the body's,
    and with GET and DELETE the query's. `fixed` are fields that the path implies; `media` is what is answered,
    `limit` the bytes that a body may have.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    status: int = 200
    query: frozenset[str] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, object] = field(default_factory=dict)
    media: tuple[str, ...] = ("application/json",)
    limit: int = 2**20


@dataclass(frozen=True, slots=True)
class Tool(Generic[Out]):
    """On /mcp. `name`: where the tool is called otherwise than the operation; `text`: what the model reads."""

    text: Callable[[Call, Out], str]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer over HTTP that is not one JSON value."""

    content: bytes | AsyncIterable[str] | AsyncIterable[bytes]
    media: str
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call, In], Awaitable[Out]]


@dataclass(frozen=True, slots=True)
class Operation(Generic[In, Out]):
    """One thing that can be asked. `waits`: it may take long, and is cancelled when the caller is gone."""

    name: str
    summary: str
    input: type[In]
    output: type[Out]
    principals: frozenset[Role]
    handler: Handler[In, Out]
    lines: tuple[Line[Out], ...] = ()
    routes: tuple[Route, ...] = ()
    tool: Tool[Out] | None = None
    waits: bool = False

    @property
    def surfaces(self) -> frozenset[Surface]:
        """Where it can be asked."""
        found = {surface for line in self.lines for surface in line.surfaces}
        found |= {Surface.HTTP} if self.routes else set()
        return frozenset(found | ({Surface.MCP} if self.tool else set()))

    @property
    def json_output(self) -> Any:
        """What of its output is JSON, as a type; Any where nothing is."""
        output: object = self.output
        parts = get_args(output) if get_origin(output) in (Union, UnionType) else (output,)
        left = tuple(part for part in parts if part is not Raw)
        return Union[left] if left else Any  # noqa: UP007 - made of a tuple

    def line(self, surface: Surface) -> Line[Out] | None:
        """How it shows on a line socket."""
        return next((line for line in self.lines if surface in line.surfaces), None)


# Rows of one table differ in input and output. What a face makes of an output, the tests see for every row.
AnyOperation = Operation[Any, Any]
AnyLine = Line[Any]
AnyTool = Tool[Any]


@dataclass(frozen=True, slots=True)
class operation:
    """Makes an operation of a handler: input, output and summary are those of its signature and docstring."""

    name: str
    principals: frozenset[Role]
    lines: tuple[AnyLine, ...] = ()
    routes: tuple[Route, ...] = ()
    tool: AnyTool | None = None
    waits: bool = False

    def __call__(self, handler: Handler[In, Out]) -> Operation[In, Out]:
        """The operation."""
        hints = get_type_hints(handler, include_extras=True)
        given = list(inspect.signature(handler).parameters)[1]
        summary = (inspect.getdoc(handler) or "").partition("\n\n")[0].replace("\n", " ")
        return Operation(
            self.name,
            summary,
            hints[given],
            hints["return"],
            self.principals,
            handler,
            self.lines,
            self.routes,
            self.tool,
            self.waits,
        )


OK = OkResponse()


def _ok(_: object) -> Wire:
    return OK


def _done(_: object) -> Wire:
    return HostResponse(ok=True)


def on_host(request: type[Wire], response: Callable[[Out], Wire] = _done) -> Line[Out]:
    """A face on host.sock; the answer is `ok` unless `response` says more."""
    return Line(request, frozenset({Surface.HOST}), response)


def on_manager(request: type[Wire], response: Callable[[Out], Wire] = _ok) -> Line[Out]:
    """A face on the manager's socket only."""
    return Line(request, frozenset({Surface.MANAGER}), response)


def on_agents(request: type[Wire], response: Callable[[Out], Wire] = _ok, manager: bool = True) -> Line[Out]:
    """A face on the agents' sockets and, unless told otherwise, on the manager's."""
    return Line(request, frozenset({Surface.AGENT, *([Surface.MANAGER] if manager else [])}), response)


RENAMED = {"name": "agent", "commit_ref": "commit"}
"""What the wire calls otherwise than the inputs."""


@cache  # of the wire's types there are only so many
def _names(request: type[Wire]) -> tuple[tuple[str, str], ...]:
    """Each field of a request with what the inputs call it."""
    return tuple((key, RENAMED.get(key, key)) for key in request.model_fields if key != "cmd")


def input_of(wanted: type[In], request: Wire) -> In:
    """A request of the wire as an operation's input. BadInput where it breaks a bound that the wire does not know.

    Inputs have one name for what the wire calls differently here and there. An absent option has the default.
    """
    if isinstance(request, wanted):
        return request
    given = ((name, getattr(request, key)) for key, name in _names(type(request)))
    fields = {name: value for name, value in given if value is not None}
    try:
        return wanted.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error

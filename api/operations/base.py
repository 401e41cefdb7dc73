"""One operation, and its bindings to the surfaces.

    Operation   name, summary, input, output, principals, effect, handler, and its bindings
      Line      on a line socket: the wire's request type, and the answer as the wire has it
      Route     on the operator's http.sock: method and path; fields come from path, query, header and body
      Tool      on /mcp: the arguments are those of its Line, or of its own request type; the answer is text

A handler gets the caller beside its input. The socket determines the caller, so no input can change it.
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
    from reconciler.queries.status import OneLook, StatusQuery
    from reconciler.service import Service


class Surface(StrEnum):
    """A socket or protocol on which operations are called."""

    HOST = "host.sock"
    MANAGER = "manager/mcp.sock"
    AGENT = "agents/<n>/mcp.sock"
    HTTP = "http"
    MCP = "mcp"


class Role(StrEnum):
    """The kind of principal that calls."""

    OPERATOR = "operator"
    MANAGER = "manager"
    AGENT = "agent"


OPERATORS = frozenset({Role.OPERATOR})
AGENTS = frozenset({Role.MANAGER, Role.AGENT})
LEADERS = frozenset({Role.OPERATOR, Role.MANAGER})
EVERYBODY = frozenset(Role)

CALLER: Mapping[Surface, Role] = {
    Surface.HOST: Role.OPERATOR,
    Surface.HTTP: Role.OPERATOR,
    Surface.MANAGER: Role.MANAGER,
    Surface.AGENT: Role.AGENT,
}
"""The caller on each surface. `/mcp` is on every http.sock, so its caller is the owner of the socket."""


class Effect(StrEnum):
    """The effect of an operation. `/mcp` passes it on as a hint: a client may ask a person before a call."""

    READS = "reads"
    CHANGES = "changes"
    REMOVES = "removes"


READS = Effect.READS
"""The operation changes nothing."""
CHANGES = Effect.CHANGES
REMOVES = Effect.REMOVES
"""The operation stops, cancels or removes something."""


def role_of(principal: Principal) -> Role:
    """Return the role of a principal."""
    match principal:
        case Operator():
            return Role.OPERATOR
        case Manager():
            return Role.MANAGER
        case Agent():
            return Role.AGENT


OnWritten = Callable[[bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """The caller and the circumstances of one call, beside its input. `stopping` is set when the daemon ends.

    `session` is that of the browser on the dashboard, "" on every socket. With `look` the statuses are of that look.

    The callbacks in `after` are awaited when the handler's answer was written (True) or could not be written (False).
    """

    service: Service
    principal: Principal
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    after: list[OnWritten] = field(default_factory=list)
    session: str = ""
    look: OneLook | None = None

    @property
    def status(self) -> StatusQuery | OneLook:
        """The status query."""
        return self.look or self.service.status

    @property
    def glances(self) -> bool:
        """True for a page, which shows what was seen last of agents without a change (Reconciler.glance)."""
        return self.look is not None

    @property
    def role(self) -> Role:
        """The caller's role."""
        return role_of(self.principal)

    @property
    def who(self) -> str:
        """The caller's name in tags and logs ("operator uid 1000", "agent alice")."""
        return self.principal.who

    @property
    def name(self) -> str:
        """The caller's address for messages: "operator" or the agent's name."""
        return OPERATOR if isinstance(self.principal, Operator) else self.principal.name


class Input(BaseModel):
    """The base of inputs that are not wire types. It is strict: an unknown key is an error, because it is probably a
    mistake.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Nothing(Input):
    """An input without keys."""


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
    """A binding to line sockets. `response` converts the output to the wire's answer."""

    request: type[Wire]
    surfaces: frozenset[Surface]
    response: Callable[[Out], Wire]

    @property
    def cmd(self) -> str:
        """The request's name on the wire."""
        return str(self.request.model_fields["cmd"].default)


@dataclass(frozen=True, slots=True)
class Route:
    """A binding to the operator's http.sock.

    Input fields that are neither in the path nor listed here are in the body, for GET and DELETE in the query. `fixed`
    has the fields that the path implies, `media` the content types of the answer, `limit` the largest body in bytes.
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
    """A binding to /mcp. `text` makes the text for the model; `name` is the tool's name if it differs.

    `request` has the arguments of an operation that is on no line socket.
    """

    text: Callable[[Call, Out], str]
    name: str | None = None
    request: type[Wire] | None = None


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer over HTTP that is not a JSON value."""

    content: bytes | AsyncIterable[str] | AsyncIterable[bytes]
    media: str
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Call, In], Awaitable[Out]]


@dataclass(frozen=True, slots=True)
class Operation(Generic[In, Out]):
    """One operation. `waits`: it may take long, and is cancelled when the caller disconnects."""

    name: str
    summary: str
    input: type[In]
    output: type[Out]
    principals: frozenset[Role]
    effect: Effect
    handler: Handler[In, Out]
    lines: tuple[Line[Out], ...] = ()
    routes: tuple[Route, ...] = ()
    tool: Tool[Out] | None = None
    waits: bool = False

    @property
    def surfaces(self) -> frozenset[Surface]:
        """The surfaces on which the operation can be called."""
        lines = {surface for line in self.lines for surface in line.surfaces}
        http = {Surface.HTTP} if self.routes else set()
        return frozenset(lines | http | ({Surface.MCP} if self.tool else set()))

    @property
    def json_output(self) -> Any:
        """The type of the operation's output as JSON, without Raw. Any if the output is only Raw."""
        output: object = self.output
        parts = get_args(output) if get_origin(output) in (Union, UnionType) else (output,)
        json_parts = tuple(part for part in parts if part is not Raw)
        return Union[json_parts] if json_parts else Any  # noqa: UP007 - made of a tuple

    def line(self, surface: Surface) -> Line[Out] | None:
        """Return its binding to a line socket."""
        return next((line for line in self.lines if surface in line.surfaces), None)


# The rows of the table differ in input and output types. Tests check each binding of each row.
AnyOperation = Operation[Any, Any]
AnyLine = Line[Any]
AnyTool = Tool[Any]


@dataclass(frozen=True, slots=True)
class operation:
    """A decorator that makes an operation of a handler. The signature gives its input and output, the docstring its
    summary.
    """

    name: str
    principals: frozenset[Role]
    effect: Effect
    lines: tuple[AnyLine, ...] = ()
    routes: tuple[Route, ...] = ()
    tool: AnyTool | None = None
    waits: bool = False

    def __call__(self, handler: Handler[In, Out]) -> Operation[In, Out]:
        """Return the operation."""
        hints = get_type_hints(handler, include_extras=True)
        parameter = list(inspect.signature(handler).parameters)[1]
        summary = (inspect.getdoc(handler) or "").partition("\n\n")[0].replace("\n", " ")
        return Operation(
            self.name,
            summary,
            hints[parameter],
            hints["return"],
            self.principals,
            self.effect,
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
    """Return a binding to host.sock. The answer is `ok`, unless `response` makes another."""
    return Line(request, frozenset({Surface.HOST}), response)


def on_manager(request: type[Wire], response: Callable[[Out], Wire] = _ok) -> Line[Out]:
    """Return a binding to the manager's socket only."""
    return Line(request, frozenset({Surface.MANAGER}), response)


def on_agents(request: type[Wire], response: Callable[[Out], Wire] = _ok, manager: bool = True) -> Line[Out]:
    """Return a binding to the agents' sockets and, if `manager`, to the manager's."""
    return Line(request, frozenset({Surface.AGENT, *([Surface.MANAGER] if manager else [])}), response)


RENAMED = {"name": "agent", "commit_ref": "commit"}
"""Names of the wire whose inputs have another name."""


@cache  # bounded by the number of wire types
def _names(request: type[Wire]) -> tuple[tuple[str, str], ...]:
    """Return each field of a request with its name in the inputs."""
    return tuple((key, RENAMED.get(key, key)) for key in request.model_fields if key != "cmd")


def input_of(input: type[In], request: Wire) -> In:
    """Return a request of the wire as an operation's input. Raise BadInput if it breaks a bound of the input.

    Names that differ are translated. An absent option has its default.
    """
    if isinstance(request, input):
        return request
    values = ((name, getattr(request, key)) for key, name in _names(type(request)))
    fields = {name: value for name, value in values if value is not None}
    try:
        return input.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from error

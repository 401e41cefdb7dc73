"""What HTTP handlers need of a request: who asks, names, ids, numbers, and a body that is exactly as described."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from litestar import Request
from litestar.datastructures import State
from pydantic import BaseModel, ConfigDict, ValidationError

from api.principals import Operator
from api.uds import CLIENT
from meta.errors import BadInput
from meta.names import AgentName, ProposalId, agent_name, proposal_id

if TYPE_CHECKING:
    from reconciler.service import Service

Ask = Request[Any, Any, State]
BODY_LIMIT = 2**20
ID_DIGITS = 19


class Body(BaseModel):
    """The JSON object of a POST: strict, and a key that is not known is refused, since it is probably a slip."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


B = TypeVar("B", bound=Body)


def service_of(request: Ask) -> Service:
    """The service that the application was made with."""
    service: Service = request.app.state.service
    return service


def caller(request: Ask) -> str:
    """Who asks, as it is recorded; the kernel told the uid."""
    client = request.scope.get("client")
    return Operator(client[1] if client is not None and client[0] == CLIENT else None).who


async def body(request: Ask, kind: type[B]) -> B:
    """The body as `kind`; no body is an empty object. BadInput names the key that is wrong."""
    text = await request.body()
    if len(text) > BODY_LIMIT:
        raise BadInput(f"the body is longer than {BODY_LIMIT} bytes", "send less in one request")
    try:
        return kind.model_validate_json(text or b"{}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.model_fields) or "none"
        raise BadInput(f"{key or 'the body'}: {first['msg']}", f"keys of this request: {known}") from error


def path_agent(request: Ask) -> AgentName:
    """The agent in the path."""
    return agent_name(str(request.path_params["agent"]))


def path_id(request: Ask) -> ProposalId:
    """The proposal's id in the path."""
    text = str(request.path_params["id"])
    if not text.isascii() or not text.isdigit() or len(text) > ID_DIGITS:
        raise BadInput(f"{text[:40]!r} is no proposal id", "ids are whole numbers; see `hive pending`")
    return proposal_id(int(text))


def maybe_agent(request: Ask) -> AgentName | None:
    """`?agent=`, when it is given."""
    text = request.query_params.get("agent")
    return agent_name(text) if text else None


def whole(request: Ask, key: str, default: int, *, most: int) -> int:
    """A whole number from the query, at least 1 and at most `most`."""
    text = request.query_params.get(key)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise BadInput(f"{key}={text[:40]!r} is not a whole number from 1 to {most}")
    return int(text)


def seconds(request: Ask, key: str, default: float, *, most: float) -> float:
    """Seconds from the query, from 0 to `most`."""
    text = request.query_params.get(key)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise BadInput(f"{key}={(text or '')[:40]!r} is not a number of seconds from 0 to {most:g}")
    return value


def flag(request: Ask, key: str, default: bool) -> bool:
    """0 or 1 from the query."""
    text = request.query_params.get(key, "1" if default else "0")
    if text not in ("0", "1"):
        raise BadInput(f"{key}={text[:40]!r} is neither 0 nor 1")
    return text == "1"


def compact(value: object) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""Requests of agents for a host: asked, pending, and answered exactly once.

The row allows nothing. Deciding a request, the event of that and the message to the agent are one transaction, so that
a daemon that died before it repeats all three, and one that died after it none. docs/howto/network.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from meta.errors import BadInput, Conflict, NotFound, Refused
from meta.model import NetworkGrant
from meta.names import OPERATOR, AgentName
from meta.text import one_line
from reconciler.common.token_bucket import Allowance
from reconciler.store import network_requests as rows
from reconciler.store.connection import Transaction
from reconciler.store.database import Database
from reconciler.store.events import keys, log
from reconciler.store.network_requests import ALLOWED, DENIED, NetworkRequest
from reconciler.store.notices import post

__all__ = ["NetworkRequest", "Requests"]

PENDING_MOST = 20
"""Pending requests of one agent: at most this many."""
WHY_LIMIT = 300
"""Characters of the reason of an agent, and of that of a denial."""
AGAIN_SECONDS = 600
"""Seconds after a denial in which the agent gets the same answer at once."""
_TOPIC = "network_answer"


class Requests:
    """The requests of one hive.

    `known` returns True for the name of an agent. `wake` wakes the receivers of an inbox. `allowance` limits the events
    that each agent causes. `clock` gives Unix seconds.
    """

    def __init__(
        self,
        db: Database,
        *,
        known: Callable[[str], bool],
        wake: Callable[[str], None] = lambda _: None,
        allowance: Allowance | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._known = known
        self._wake = wake
        self._allowance = allowance or Allowance()
        self._clock = clock

    async def ask(self, agent: AgentName, host: str, port: int, why: str) -> NetworkRequest:
        """Add a pending request for a canonical host, or count once more the one that is pending for the same.

        Raise BadInput (no reason), Conflict (too many are pending), Refused (the same was denied a moment ago),
        TransientError (the agent is too fast).
        """
        reason = one_line(why, WHY_LIMIT)
        if not reason:
            raise BadInput("the reason is empty", "write in `why` what the host is needed for: a person reads it")
        if not self._known(agent):
            raise NotFound(f"there is no agent {agent[:40]!r}", "see `hive list`")
        now = int(self._clock())

        def again(connection: Transaction) -> int | None:
            return rows.count_again(connection, agent, host, port, now)

        id = await self._db.write(again)
        if id is None:
            self._allowance.spend(agent, 2)  # one event for the request and one for its answer
            id = await self._db.write(partial(_add, agent=agent, host=host, port=port, why=reason, at=now))
        return await self.get(id)

    async def get(self, id: int) -> NetworkRequest:
        """Return one request. Raise NotFound."""
        request = await self._db.read(partial(rows.get, id=id)) if 0 <= id < 2**63 else None
        if request is None:
            raise NotFound(f"there is no network request {id}", "see `hive network`")
        return request

    async def pending(self, agent: AgentName | None = None) -> list[NetworkRequest]:
        """Return the pending requests of an agent (None: of all), oldest first."""
        return await self._db.read(partial(rows.pending, agent=agent))

    async def deny(self, agent: AgentName, id: int, by: str, reason: str = "") -> NetworkRequest:
        """Deny a pending request, and answer the agent. Raise NotFound, Conflict."""
        why = one_line(reason, WHY_LIMIT)
        await self.pending_one(agent, id)

        def work(connection: Transaction) -> NetworkRequest:
            request = _pending(rows.get(connection, id), id)
            answer = f"Your request {id}: {request.rule} is denied{f': {why}' if why else ''}."
            now = int(self._clock())
            rows.decide(connection, id, DENIED, by, answer, now)
            data = {"id": id, "rule": request.rule, "by": by, "reason": why}
            log.append(connection, now, "network_denied", request.agent, data)
            post(connection, OPERATOR, request.agent, answer, now, topic=_TOPIC)
            return request

        request = await self._db.write(work)
        self._wake(request.agent)
        return await self.get(id)

    async def allowed(self, agent: AgentName, grant: NetworkGrant, requests: Sequence[int], words: str) -> list[int]:
        """Record that a grant is in force, and answer these requests. Return those that were pending still.

        Call it once the rule is live. `words` say until when. It may be repeated: the event has a key, and a request
        that is decided stays as it is.
        """
        now = int(self._clock())

        def work(connection: Transaction) -> list[int]:
            data = {"rule": grant.rule, "until": grant.until, "by": grant.by, "requests": list(requests)}
            key = keys.network_allowed(agent, grant.rule, grant.at)
            log.append(connection, now, "network_allowed", agent, data, key)
            return _answer(connection, requests, grant.by, words, now)

        answered = await self._db.write(work)
        if answered:
            self._wake(agent)
        return answered

    async def covered(self, agent: AgentName, requests: Sequence[int], by: str, words: str) -> list[int]:
        """Answer requests for what the agent may reach by its configuration. Return those that were pending still."""
        now = int(self._clock())

        def work(connection: Transaction) -> list[int]:
            answered = _answer(connection, requests, by, words, now)
            for id in answered:
                if (request := rows.get(connection, id)) is not None:
                    log.append(connection, now, "network_covered", agent, {"id": id, "rule": request.rule})
            return answered

        answered = await self._db.write(work)
        if answered:
            self._wake(agent)
        return answered

    async def forget(self, agent: AgentName) -> None:
        """Remove the requests of an agent that is destroyed."""
        await self._db.write(partial(rows.delete_of, agent=agent))

    async def pending_one(self, agent: AgentName, id: int) -> NetworkRequest:
        """Return the agent's pending request. Raise NotFound, Conflict."""
        request = await self.get(id)
        if request.agent != agent:
            raise NotFound(f"request {id} is not of {agent} but of {request.agent}", f"`hive network {request.agent}`")
        return _pending(request, id)


def _add(connection: Transaction, agent: AgentName, host: str, port: int, why: str, at: int) -> int:
    if (id := rows.count_again(connection, agent, host, port, at)) is not None:
        return id  # of two at once
    if (denied := rows.last_denied(connection, agent, host, port, at - AGAIN_SECONDS)) is not None:
        raise Refused(
            f"{denied.rule} was denied a moment ago. {denied.answer}",
            "do without it; `ask` asks the operator a question",
        )
    if rows.count_pending(connection, agent) >= PENDING_MOST:
        raise Conflict(
            f"{agent} has {PENDING_MOST} network requests pending, which is the limit",
            "wait for the operator's answers",
        )
    rows.prune(connection, agent)
    id = rows.insert(connection, agent, host, port, why, at)
    request = _pending(rows.get(connection, id), id)
    log.append(connection, at, "network_requested", agent, {"id": id, "rule": request.rule, "why": why})
    return id


def _answer(connection: Transaction, requests: Sequence[int], by: str, words: str, at: int) -> list[int]:
    answered = []
    for id in requests:
        request = rows.get(connection, id)
        if request is None:
            continue
        answer = f"Your request {id}: {request.rule} is allowed {words}. It is in force now."
        if rows.decide(connection, id, ALLOWED, by, answer, at):
            post(connection, OPERATOR, request.agent, answer, at, topic=_TOPIC)
            answered.append(id)
    return answered


def _pending(request: NetworkRequest | None, id: int) -> NetworkRequest:
    if request is None:
        raise NotFound(f"there is no network request {id}", "see `hive network`")
    if request.decision is not None:
        again = f"hive network allow {request.agent} {request.rule}"
        how = f"`hive network {request.agent}` shows by which rule, `hive network revoke` takes one back"
        raise Conflict(
            f"request {id} was {request.decision} already, by {request.decided_by}",
            how if request.decision == ALLOWED else f"`{again}` allows it after all",
        )
    return request

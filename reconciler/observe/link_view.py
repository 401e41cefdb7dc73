"""What hive shows of a link after each line of a harness. Pure: `now` is in Unix seconds.

Each text becomes one line, because it is the agent's.
"""

from __future__ import annotations

from dataclasses import replace

from meta.text import one_line
from meta.wire.link import About, Hello, PodInfo, Pods, State, TurnState
from reconciler.observe.holds import REASON_LIMIT
from reconciler.plan.observed import LinkView

POD_STATES = frozenset({"idle", "running", "paused", "starting", "waiting", "unreachable"})
"""The states of a pod that hive knows. Any other word is shown as `unknown`."""
_RESULTS = frozenset({"", "finished", "paused", "limit_reached", "error"})
SCOPE_LIMIT = 300

NEVER = LinkView()
"""The link of an agent that never connected."""


def connected(view: LinkView, now: float) -> LinkView:
    """Return the view after another peer connected, which said nothing yet."""
    return replace(_silent(view), connected=True, since=now, answered=False)


def lost(view: LinkView, now: float, *, greeted: bool) -> LinkView:
    """Return the view after the connection ended. It counts as a loss if it was a harness's, which said hello."""
    return replace(_silent(view), connected=False, since=now, losses=view.losses + greeted)


def greeted(view: LinkView, hello: Hello, now: float) -> LinkView:
    """Return the view after a hello."""
    same_launch = view.nonce == hello.nonce
    same_turn = same_launch and view.turn_number == hello.turn
    return replace(
        view,
        generation=hello.generation,
        nonce=hello.nonce,
        turn=hello.state,
        legacy_at=None,
        turn_since=_turn_since(view if same_turn else NEVER, hello.state, now - hello.seconds),
        turn_number=hello.turn,
        about=view.about if same_launch else None,
        until=hello.until,
        state_since=now - hello.seconds,
        reason=one_line(hello.reason, REASON_LIMIT),
        person=hello.person,
        context=hello.context,
        window=hello.window,
    )


def changed(view: LinkView, state: State, now: float) -> LinkView:
    """Return the view after a changed turn state or an answered probe."""
    same_turn = view.turn_number == state.turn
    return replace(
        view,
        turn=state.state,
        turn_since=_turn_since(view if same_turn else NEVER, state.state, now),
        turn_number=state.turn,
        answered=view.answered or state.probe is not None,
        until=state.until,
        state_since=_state_since(view, state, now),
        reason=one_line(state.reason, REASON_LIMIT),
        person=state.person,
        context=state.context,
        window=state.window,
    )


def described(view: LinkView, about: About) -> LinkView:
    """Return the view after the harness said which runtime it drives."""
    repos = tuple(
        repo.model_copy(update={key: one_line(text) for key, text in repo.model_dump().items()})
        for repo in about.workspaces
    )
    texts = {key: one_line(text) for key, text in about.model_dump(exclude={"up", "workspaces"}).items()}
    return replace(view, about=about.model_copy(update={**texts, "workspaces": repos}))


def with_pods(view: LinkView, pods: Pods) -> LinkView:
    """Return the view after the harness said which pods the agent has.

    Only what makes a tree is kept: the first pod of a name, and a sub-agent of a pod that comes before it.
    """
    kept: dict[str, PodInfo] = {}
    for pod in pods.pods:
        if pod.name and pod.name not in kept and (pod.parent in kept if kept else not pod.parent):
            kept[pod.name] = _pod(pod)
    return replace(view, pods=tuple(kept.values()))


def _pod(pod: PodInfo) -> PodInfo:
    state = pod.state if pod.state in POD_STATES else "unknown"
    result = pod.result if pod.result in _RESULTS else "unknown"
    return pod.model_copy(update={"state": state, "result": result, "scope": one_line(pod.scope, SCOPE_LIMIT)})


def _silent(view: LinkView) -> LinkView:
    """Return the view without a turn state: no harness reports one now."""
    return replace(
        view,
        turn=None,
        state_since=None,
        until=None,
        reason="",
        person=False,
        context=None,
        window=None,
        pods=(),
    )


def _turn_since(before: LinkView, turn: TurnState, began: float) -> float | None:
    """Return when the turn began that a harness reports; None between turns.

    A turn goes on over a connection that broke. `began` is when it began as the harness reports it.
    """
    if not turn.in_turn:
        return None
    return before.turn_since if before.turn_since is not None else began


def _state_since(before: LinkView, state: State, now: float) -> float:
    """Return when a reported state began. It began no later than now."""
    if state.since is not None:
        return min(state.since, now)
    return before.state_since if before.turn is state.state and before.state_since else now

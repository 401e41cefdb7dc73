"""What a line that is typed to an agent means: a message, or an order that begins with `/`."""

from __future__ import annotations

from dataclasses import dataclass

HELP = (
    "a line is sent to the agent as a message of the operator; one that begins with // as it is, with one /",
    "/model [NAME]    show its model, or set it from the next turn on; /model --default returns to agent.toml's",
    "/compact         compact its conversation",
    "/new-session     begin a new conversation with its next turn",
    "/pause /resume   keep it from turns, and let it take them again",
    "/cancel          end its turn; it goes on with its next message",
    "/notify TEXT     give its model a text: within its turn if it can take it, else with the next one",
    "/pods            show its own pod and its sub-agents; `hive attach AGENT/POD` attaches to one",
    "/help            show this",
    "/quit, Ctrl-C or Ctrl-D detaches: the agent goes on",
)
POD_HELP = (
    "a line begins a run of this sub-agent with it; one that begins with // as it is, with one /",
    "/notify TEXT     give its model a text: within its run if it can take it, else with the next one",
    "/pause /resume   stop its run, and go on with it",
    "/cancel          end its run",
    "/pods            show the pods of its agent",
    "/help            show this",
    "/quit, Ctrl-C or Ctrl-D detaches: the sub-agent goes on",
)
POD_VERBS = frozenset({"pause", "resume", "cancel"})
VERBS = frozenset({"compact", "new-session", "pause", "resume", "cancel"})


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to the agent."""

    body: str


@dataclass(frozen=True, slots=True)
class Do:
    """Do something about the agent's turns: one of VERBS."""

    verb: str


@dataclass(frozen=True, slots=True)
class Notify:
    """Give the model a text, beside its inbox."""

    text: str


@dataclass(frozen=True, slots=True)
class ShowPods:
    """Show the pods of the agent."""


@dataclass(frozen=True, slots=True)
class ShowModel:
    """Show the model."""


@dataclass(frozen=True, slots=True)
class SetModel:
    """Set the model; None: that of agent.toml again."""

    name: str | None


@dataclass(frozen=True, slots=True)
class Explain:
    """Show lines of help."""

    lines: tuple[str, ...] = HELP


@dataclass(frozen=True, slots=True)
class Detach:
    """End. The agent goes on."""


Order = Send | Do | Notify | ShowPods | ShowModel | SetModel | Explain | Detach


def order_of(line: str, *, pod: bool = False) -> Order | None:
    """Return what a typed line means; None for an empty one. `pod`: it is typed to a sub-agent, which has less."""
    text = line.strip()
    if not text:
        return None
    if not text.startswith("/") or text.startswith("//"):
        return Send(line[line.index("/") + 1 :] if text.startswith("//") else line)
    word, *rest = text[1:].split() or [""]
    if word == "notify" and rest:
        return Notify(text.removeprefix("/notify").strip())
    if word == "pods" and not rest:
        return ShowPods()
    if pod:
        return _order_of_pod(text, word, rest)
    if word == "model" and len(rest) <= 1:
        return ShowModel() if not rest else SetModel(None if rest[0] == "--default" else rest[0])
    if rest or word not in VERBS | {"help", "quit", "detach"}:
        return Explain((f"this is no order: {text}", "/help lists them; // sends a line that begins with /"))
    if word in VERBS:
        return Do(word)
    return Explain() if word == "help" else Detach()


def _order_of_pod(text: str, word: str, rest: list[str]) -> Order:
    if rest or word not in POD_VERBS | {"help", "quit", "detach"}:
        return Explain((f"this is no order: {text}", "/help lists them; // sends a line that begins with /"))
    if word in POD_VERBS:
        return Do(word)
    return Explain(POD_HELP) if word == "help" else Detach()

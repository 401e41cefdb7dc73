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
    "/help            show this",
    "/quit, Ctrl-C or Ctrl-D detaches: the agent goes on",
)
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


Order = Send | Do | ShowModel | SetModel | Explain | Detach


def order_of(line: str) -> Order | None:
    """Return what a typed line means; None for an empty one."""
    text = line.strip()
    if not text:
        return None
    if not text.startswith("/") or text.startswith("//"):
        return Send(line[line.index("/") + 1 :] if text.startswith("//") else line)
    word, *rest = text[1:].split() or [""]
    if word == "model" and len(rest) <= 1:
        return ShowModel() if not rest else SetModel(None if rest[0] == "--default" else rest[0])
    if rest or word not in VERBS | {"help", "quit", "detach"}:
        return Explain((f"this is no order: {text}", "/help lists them; // sends a line that begins with /"))
    if word in VERBS:
        return Do(word)
    return Explain() if word == "help" else Detach()

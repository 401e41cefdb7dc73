"""The registration of commands. Each command has the options to find its daemon, and gets a client for it.

Annotations are read at run time here and in the command modules, so none of them postpones evaluation.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Concatenate, ParamSpec, cast

import typer

from api.cli.client import completion, paths
from api.cli.client.http import Client
from meta.agent_toml.runtimes import SEEDED
from meta.errors import BadInput
from meta.names import agent_name

P = ParamSpec("P")

LOOK = "Look"
DECIDE = "Change what agents are"
RUN = "Run agents"
DAEMON = "The daemon"
_WHERE = "Where the daemon is"

StateOption = Annotated[
    str | None,
    typer.Option(
        "--state",
        metavar="DIR",
        rich_help_panel=_WHERE,
        show_default="HIVE_STATE, else ./.hive if it is there, else /var/lib/hyperhive",
        help="the daemon's state directory",
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="DIR",
        rich_help_panel=_WHERE,
        show_default="STATE/run, or /run/hyperhive; without --state: HIVE_RUNTIME",
        help="where its sockets are",
    ),
]
SpawnRuntimeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--runtime",
        metavar="NAME|DIR",
        help="what takes its turns: "
        + ", ".join(SEEDED)
        + "; a path, with a slash, says where the daemon's sockets are",
        autocompletion=completion.runtimes,
        show_default="HIVE_DEFAULT_RUNTIME",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
WaitOption = Annotated[bool, typer.Option("--wait", help="wait until it is done; exit 1 if it fails")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="stop waiting after this time (exit 6); the work goes on")
]
YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="do not ask; needed to destroy something if stdin is not a terminal")
]
NowOption = Annotated[bool, typer.Option("--now", help="do not wait until the agent has finished its turn")]
AgentArgument = Annotated[
    str, typer.Argument(metavar="AGENT", help="the agent's name", autocompletion=completion.agents, show_default=False)
]
PodArgument = Annotated[
    str,
    typer.Argument(
        metavar="AGENT[/POD]",
        help="an agent, or one of its sub-agents",
        autocompletion=completion.pods,
        show_default=False,
    ),
]
MaybeAgentArgument = Annotated[
    str | None,
    typer.Argument(metavar="AGENT", help="one agent", autocompletion=completion.agents, show_default="all of them"),
]
RetryArgument = Annotated[
    int,
    typer.Argument(metavar="ID", help="a failed or denied id", autocompletion=completion.retriable, show_default=False),
]
CancelArgument = Annotated[
    int, typer.Argument(metavar="ID", help="the approved id", autocompletion=completion.cancellable, show_default=False)
]
OwnerOption = Annotated[
    str | None,
    typer.Option(
        "--agent",
        metavar="NAME",
        help="the agent of the proposal; needed only for id 0, the first spawn of every agent",
        autocompletion=completion.agents,
    ),
]
MessageOption = Annotated[str, typer.Option("-m", "--message", metavar="TEXT", help="a note for the operator")]
WAIT_SECONDS = 600.0
_NAMES = ("agent", "name", "to")
"""Parameters that are an agent's name. They are checked here, before one becomes part of a URL path."""


def command(
    app: typer.Typer, name: str, panel: str, *, examples: tuple[str, ...] = ()
) -> Callable[[Callable[Concatenate[Client, P], None]], Callable[Concatenate[Client, P], None]]:
    """Register a command whose first parameter is the client.

    typer shows --state and --runtime in place of that parameter. Both may also stand before the command. A command with
    a parameter `runtime` of its own has a --runtime for both: a value with a slash is a place, another one is its own.
    """

    def register(function: Callable[Concatenate[Client, P], None]) -> Callable[Concatenate[Client, P], None]:
        @functools.wraps(function)
        def run(*args: P.args, **options: P.kwargs) -> None:
            context = cast("typer.Context | None", options.pop("ctx", None))
            for name in (_text(options.get(key)) for key in _NAMES):
                if name is not None:
                    agent_name(name)
            place, own = _split(options.pop("runtime", None))
            if has_runtime:
                options["runtime"] = own
            where = find(context, _text(options.pop("state", None)), place)
            function(Client(where), *args, **options)

        _first, *rest = inspect.signature(function).parameters.values()
        has_runtime = any(parameter.name == "runtime" for parameter in rest)
        kinds = (("state", StateOption), *(() if has_runtime else (("runtime", RuntimeOption),)))
        location = [
            inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for word, kind in kinds
        ]
        location.append(inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
        shown = [*(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in rest), *location]
        run.__dict__["__signature__"] = inspect.Signature(shown, return_annotation=None)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        app.command(name, rich_help_panel=panel, epilog=epilog(examples))(run)
        return function

    return register


def find(
    context: typer.Context | None, state: str | None, runtime: str | None, *, serving: bool = False
) -> paths.Where:
    """Return where the daemon is. An option behind the command beats the same option before it."""
    before = context.find_root().params if context is not None else {}
    state, runtime = state or _text(before.get("state")), runtime or _text(before.get("runtime"))
    return paths.find(state, runtime, serving=serving)


def parts_of(pod: str) -> tuple[str, str]:
    """Return the agent and the sub-agent of AGENT or AGENT/POD; "" is the agent's own pod. Raise BadInput."""
    agent, slash, child = pod.partition("/")
    agent_name(agent)
    if slash and (not child or not all(char.isascii() and (char.isalnum() or char in "._-") for char in child)):
        raise BadInput(f"{pod!r} is no pod", "write AGENT or AGENT/POD, as `hive pod list AGENT` shows them")
    return agent, "" if child == agent else child


def count_of(number: int, most: int) -> int:
    """Return the value of `-n`, or raise BadInput if it is not from 1 to `most`."""
    if not 1 <= number <= most:
        raise BadInput(f"-n {number} is not a number from 1 to {most}", "`-n 20` shows the last 20")
    return number


def epilog(examples: tuple[str, ...]) -> str | None:
    """Return the examples as help shows them, one per line."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"$ {example}" for example in examples)]) if examples else None


def _split(value: object) -> tuple[str | None, list[str]]:
    """Return the place and the other values of --runtime. Without a list it is a place."""
    if not isinstance(value, list | tuple):
        return _text(value), []
    places = [str(each) for each in value if "/" in str(each)]
    return (places[-1] if places else None), [str(each) for each in value if "/" not in str(each)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

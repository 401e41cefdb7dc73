"""`hive turn`: pause and resume an agent's turns, end one, compact its conversation, begin a new one. `hive model`."""

from typing import Annotated

import typer

from api.cli.client.http import Client, Row
from api.cli.command import RUN, AgentArgument, JsonOption, command
from api.cli.render import console, turns
from meta.errors import BadInput


def register(app: typer.Typer) -> None:
    """Add the group and the command to `app`."""
    group = typer.Typer(help="Control the turns of an agent.", no_args_is_help=True)
    command(group, "pause", RUN, examples=("hive turn pause alice",))(pause)
    command(group, "resume", RUN, examples=("hive turn resume alice",))(resume)
    command(group, "cancel", RUN, examples=("hive turn cancel alice",))(cancel)
    command(group, "compact", RUN, examples=("hive turn compact alice",))(compact)
    command(group, "new-session", RUN, examples=("hive turn new-session alice",))(new_session)
    app.add_typer(group, name="turn", rich_help_panel=RUN)
    examples = ("hive model alice", "hive model alice opus", "hive model alice --default")
    command(app, "model", RUN, examples=examples)(model)


def pause(client: Client, agent: AgentArgument, json: JsonOption = False) -> None:
    """Stop the turn of an agent, and let it take no other one.

    It goes on running, its messages wait, and those of the turn that was stopped come again. The pause outlasts
    restarts of the agent and of the daemon, and deploys, until `hive turn resume`.
    """
    show(client.post(path(agent, "pause")), json)


def resume(client: Client, agent: AgentArgument, json: JsonOption = False) -> None:
    """Let a paused agent take turns again."""
    show(client.post(path(agent, "resume")), json)


def cancel(client: Client, agent: AgentArgument, json: JsonOption = False) -> None:
    """End the turn of an agent now. What it was about counts as done, and the agent goes on with its next message.

    To stop a turn so that its messages come again use `hive turn pause`. (`hive cancel` is about deploys.)
    """
    show(client.post(path(agent, "cancel")), json)


def compact(client: Client, agent: AgentArgument, json: JsonOption = False) -> None:
    """Compact the conversation of an agent, and wait until that is done. During a turn, queue it for after the turn."""
    show(client.post(path(agent, "compact")), json)


def new_session(client: Client, agent: AgentArgument, json: JsonOption = False) -> None:
    """Begin a new conversation with the next turn of an agent. The model forgets the one before."""
    show(client.post(path(agent, "new-session")), json)


def model(
    client: Client,
    agent: AgentArgument,
    model_name: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="the model from the next turn on", show_default="show it")
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="the model of agent.toml again, or else the runtime's default")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the model of an agent, or set it from the next turn on.

    A model that is set here comes before that of agent.toml, outlasts rebuilds and rollbacks, and is gone with a purge.
    `hive status` shows if it hides the model that was approved.
    """
    if default and model_name is not None:
        raise BadInput("both a model and --default are given", f"`hive model {agent} --default`")
    if default or model_name is not None:
        show(client.post(f"/api/agents/{agent}/model", {"name": model_name}), json)
        return
    current = client.row(f"/api/agents/{agent}/model")
    if json:
        console.write_json(current)
        return
    console.facts(
        (
            ("runtime", " ".join(filter(None, (current["runtime"], current["program"]))) or "unknown"),
            ("model", current["model"] or "the runtime's default"),
            ("set by you", current["override"]),
            ("agent.toml", current["approved"]),
            ("problem", current["problem"]),
        )
    )


def path(agent: str, verb: str) -> str:
    """Return the path of a request about the turns of an agent."""
    return f"/api/agents/{agent}/turn/{verb}"


def show(result: Row, json: bool) -> None:
    """Print the result of a request."""
    if json:
        console.write_json(result)
    else:
        console.write(turns.sentence(result))

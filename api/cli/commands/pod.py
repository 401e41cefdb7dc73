"""`hive pod`: the pods of an agent, by the pod protocol."""

from contextlib import closing
from typing import Annotated

import typer

from api.cli.client.http import Client
from api.cli.command import RUN, AgentArgument, JsonOption, PodArgument, command, parts_of
from api.cli.render import console
from api.words import pods as words
from api.words import times
from meta.errors import TransientError

HEADINGS = ("POD", "PARENT", "STATE", "LAST TURN", "ENDED", "MAY WRITE")
DONE = {
    "run": "begins a run",
    "notify": "has the text",
    "resume": "goes on with its run",
    "pause": "is paused",
    "cancel": "has its run ended",
    "shutdown": "is told to end",
}


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    group = typer.Typer(help="Look at an agent's pods, and control them one by one.", no_args_is_help=True)
    command(group, "list", RUN, examples=("hive pod list alice",))(list_pods)
    command(group, "run", RUN, examples=("hive pod run alice/child 'write the tests'",))(run)
    command(group, "notify", RUN, examples=("hive pod notify alice/child 'main has moved'",))(notify)
    command(group, "pause", RUN, examples=("hive pod pause alice/child",))(pause)
    command(group, "resume", RUN, examples=("hive pod resume alice/child",))(resume)
    command(group, "cancel", RUN, examples=("hive pod cancel alice/child",))(cancel)
    command(group, "shutdown", RUN, examples=("hive pod shutdown alice/child",))(shutdown)
    command(group, "history", RUN, examples=("hive pod history alice/child",))(history)
    command(group, "events", RUN, examples=("hive pod events alice/child --json",))(events)
    app.add_typer(group, name="pod", rich_help_panel=RUN)


def list_pods(client: Client, agent: AgentArgument, json: JsonOption = False) -> None:
    """Show the pods of an agent: its own, and its sub-agents below it."""
    rows = client.rows(f"/api/agents/{agent}/pods")
    if json:
        console.write_json(rows)
        return
    console.table(
        HEADINGS,
        (
            (
                f"{agent}/{pod['name']}" if pod["parent"] else agent,
                pod["parent"],
                words.state(pod),
                words.last_turn(pod),
                times.age(pod["ended"]) if pod["ended"] is not None else "",
                pod["scope"],
            )
            for _, pod in words.tree(rows)
        ),
        empty="no pods: its harness is not connected, or older",
        optional=("ENDED", "MAY WRITE"),
    )


TextArgument = Annotated[str, typer.Argument(metavar="TEXT", help="for the model", show_default=False)]


def run(client: Client, pod: PodArgument, text: TextArgument, json: JsonOption = False) -> None:
    """Begin a run with this input. It is refused while another one is under way, and takes the place of a paused one.

    A message (`hive send`) waits instead, and is the way to talk with an agent.
    """
    do(client, pod, "run", json, text)


def notify(client: Client, pod: PodArgument, text: TextArgument, json: JsonOption = False) -> None:
    """Give the model a text: at once if it can take it within its run, else with the next one. It wakes an idle pod."""
    do(client, pod, "notify", json, text)


def pause(client: Client, pod: PodArgument, json: JsonOption = False) -> None:
    """Stop the run of a pod so that it can be resumed. `hive turn pause` keeps a whole agent from turns."""
    do(client, pod, "pause", json)


def resume(client: Client, pod: PodArgument, json: JsonOption = False) -> None:
    """Go on with the paused run of a pod."""
    do(client, pod, "resume", json)


def cancel(client: Client, pod: PodArgument, json: JsonOption = False) -> None:
    """End the run of a pod for good, also a paused one."""
    do(client, pod, "cancel", json)


def shutdown(client: Client, pod: PodArgument, json: JsonOption = False) -> None:
    """End a sub-agent. For an agent itself this is `hive stop`."""
    do(client, pod, "shutdown", json)


def history(client: Client, pod: PodArgument, json: JsonOption = False) -> None:
    """Show what a pod says of itself, and the newest items of its conversation."""
    found = client.row(f"{path(pod)}/history")
    if json:
        console.write_json(found)
        return
    greeting = found["greeting"]
    console.facts(
        (
            ("pod", greeting["pod_name"]),
            ("folder", greeting["cwd"]),
            ("model", " ".join(filter(None, (greeting["provider"], greeting["model"])))),
            ("scope", greeting["scope_summary"]),
            ("tools", ", ".join(greeting["tools"])),
        )
    )
    for item in found["items"]:
        for line in words.item_lines(item):
            console.write(line)


def events(client: Client, pod: PodArgument, json: JsonOption = False) -> None:
    """Follow the events of a pod until it ends. With --json each line is one event of the pod protocol."""
    agent, _ = parts_of(pod)
    with closing(client.stream(f"{path(pod)}/events")) as stream:
        while True:
            event = stream.next(60.0)
            if event is None or event.kind == "ready":
                continue
            if event.kind == "end":
                reason = str(event.data.get("reason", "it has ended"))
                if event.data.get("error"):
                    raise TransientError(reason, f"`hive pod list {agent}` has the pods")
                console.progress(reason)
                return
            if json:
                console.write_json_line(event.data)
            else:
                for line in words.event_lines(event.data):
                    console.write(line)


def path(pod: str) -> str:
    """Return the path of a pod that is written AGENT or AGENT/POD. Raise BadInput."""
    agent, child = parts_of(pod)
    return f"/api/agents/{agent}/pods/{child or agent}"


def do(client: Client, pod: str, method: str, json: bool, text: str = "") -> None:
    """Do a method, and print that it was accepted."""
    done = client.post(f"{path(pod)}/{method}", {"text": text} if text else {})
    if json:
        console.write_json(done)
    else:
        console.write(f"{pod} {DONE[method]}")

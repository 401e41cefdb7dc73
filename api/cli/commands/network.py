"""`hive network`: what agents may reach, what they were refused, and what you allow them."""

import time
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from api.cli.client import completion
from api.cli.client.exit_codes import Interrupted
from api.cli.client.http import Client, Row
from api.cli.client.patience import LOST, Patience
from api.cli.command import RUN, AgentArgument, JsonOption, MaybeAgentArgument, command
from api.cli.render import console
from api.cli.render import network as render
from api.words import times
from api.words.users import with_names
from meta.errors import BadInput, Conflict, TransientError

HOUR = "1h"
FOLLOW_SECONDS = 1.0
"""Seconds between two questions of --follow."""
SECONDS_MOST = 30 * 86_400
SHOW = "show"
HELP = "What agents may reach: show it, allow a host for a time or for good, take that back."

GrantedArgument = Annotated[
    str,
    typer.Argument(
        metavar="RULE",
        help="a host: crates.io, *.example.org, git.example.org:22",
        autocompletion=completion.granted,
        show_default=False,
    ),
]
AllowedArgument = Annotated[
    str,
    typer.Argument(
        metavar="RULE",
        help="a host, or the number of the agent's request",
        autocompletion=completion.wanted,
        show_default=False,
    ),
]


class _Network(TyperGroup):
    """The group. `hive network alice` is short for `hive network show alice`: what is no command names an agent."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` before what names no command. A completion of the first word may still become either."""
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        if not named and not (ctx.resilient_parsing and not args):
            args = [SHOW, *args]
        return super().parse_args(ctx, args)

    @override
    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete the commands, and the agents."""
        agent = next(each for each in self.commands[SHOW].params if each.name == "agent")
        return [*super().shell_complete(ctx, incomplete), *agent.shell_complete(ctx, incomplete)]


def register(app: typer.Typer) -> None:
    """Add the group to `app`."""
    group = typer.Typer(help=HELP, cls=_Network, subcommand_metavar="[AGENT | COMMAND] ...")
    showing = ("hive network", "hive network alice", "hive network alice --follow", "hive network show allow")
    command(group, SHOW, RUN, examples=showing)(show)
    allowing = (
        "hive network allow alice crates.io",
        "hive network allow alice 3 --for 2h",
        "hive network allow alice '*.crates.io' --propose",
    )
    command(group, "allow", RUN, examples=allowing)(allow)
    command(group, "revoke", RUN, examples=("hive network revoke alice crates.io",))(revoke)
    command(group, "deny", RUN, examples=("hive network deny alice 3 'use the mirror'",))(deny)
    suggesting = ("hive network suggest alice", "hive network suggest alice --group python")
    command(group, "suggest", RUN, examples=suggesting)(suggest)
    app.add_typer(group, name="network", rich_help_panel=RUN)


def show(
    client: Client,
    agent: MaybeAgentArgument = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="print connections as they come, until Ctrl-C")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show what agents may reach, what they were refused, and what they ask for.

    With AGENT it also shows where each rule comes from, and its last connections. `hive network AGENT` is the same,
    unless the agent has the name of a command. --follow needs an AGENT, and goes on after a restart of the daemon.
    """
    if follow:
        if agent is None:
            raise BadInput("--follow needs an agent", "`hive network alice --follow`")
        try:
            _follow(client, agent, json)
        except KeyboardInterrupt:
            again = f"`hive network {agent} --follow` shows it again"
            raise Interrupted(f"interrupted; {agent} goes on", again) from None
        return
    views = client.rows("/api/network", {"agent": agent})
    if json:
        console.write_json(views if agent is None else views[0])
    elif agent is None:
        render.show_all(views)
    else:
        render.show_one(views[0])
        _show_connections(client, agent)
        render.show_lines(views[0])


def allow(
    client: Client,
    agent: AgentArgument,
    rule: AllowedArgument,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="for how long: 90s, 10m, 2h, 3d, at most 30d", show_default=HOUR),
    ] = None,
    propose: Annotated[bool, typer.Option("--propose", help="for good: change agent.toml, and propose that")] = False,
    json: JsonOption = False,
) -> None:
    """Allow an agent a host, for a time or for good.

    For a time it is in force when this returns, and ends by itself. A host without a port has the ports 443 and 80.
    Requests of the agent that the rule covers are answered. With --propose nothing is in force before you approve the
    proposal.
    """
    if propose and duration is not None:
        raise BadInput("both --for and --propose are given", "one is for a time, the other for good")
    body: dict[str, object] = {"rule": rule, "propose": propose}
    if not propose:
        body["seconds"] = _seconds(duration or HOUR)
    done = _post(client, f"/api/agents/{agent}/network/allow", body)
    if json:
        console.write_json(done)
        return
    if (id := done["proposal"]) is not None:
        console.write(f"{id} is proposed: {agent} may reach {done['rule']}; see `hive diff {id}`")
    else:
        default = "" if duration is not None else ", for an hour, since neither --for nor --propose is given"
        console.write(f"{agent} may reach {done['rule']} until {times.short_time(done['until'])}{default}")
    for request in done["answered"]:
        console.write(f"request {request} is answered")
    for note in done["notes"]:
        console.write(f"note: {note}")


def revoke(client: Client, agent: AgentArgument, rule: GrantedArgument, json: JsonOption = False) -> None:
    """Take back a host that was allowed for a time. Connections over it end.

    What agent.toml has is taken out with `hive edit`.
    """
    _changed(_post(client, f"/api/agents/{agent}/network/revoke", {"rule": rule}), json)


def deny(
    client: Client,
    agent: AgentArgument,
    request: Annotated[int, typer.Argument(metavar="REQUEST", help="the number of its request", show_default=False)],
    reason: Annotated[str, typer.Argument(metavar="REASON", help="why, for the agent", show_default=False)] = "",
    json: JsonOption = False,
) -> None:
    """Deny what an agent asked for. It gets the answer as a message."""
    _changed(_post(client, f"/api/agents/{agent}/network/deny", {"request": request, "reason": reason}), json)


def suggest(
    client: Client,
    agent: AgentArgument,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="NAME",
            help="make a group of this name for network.toml",
            autocompletion=completion.groups,
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="make *.name of several hosts below one name; that allows others there too")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Print the text that would allow an agent what it was refused. Nothing is changed.

    Read it before you use it: an agent can be made to ask for any host.
    """
    made = client.row(f"/api/agents/{agent}/network/suggest", {"group": group, "merge": merge or None})
    if json:
        console.write_json(made)
        return
    if made["operator_file"]:
        console.write("# for network.toml: put it into the table [groups] if there is one")
        console.write(made["operator_file"])
    console.write(f"# for agent.toml: `hive edit {agent}`; add to `allow` if there is one")
    console.write(made["agent_toml"].rstrip("\n"))
    for note in made["notes"]:
        console.progress(f"note: {note}")


def _seconds(duration: str) -> int:
    seconds = int(times.span(duration))
    if seconds < 1:
        raise BadInput(f"--for {duration} is no time", "at least 1s; `hive network revoke` takes a host back")
    if seconds > SECONDS_MOST:
        raise BadInput(f"--for {duration} is more than 30 days", "at most 30d; --propose allows it for good")
    return seconds


def _post(client: Client, path: str, body: dict[str, object]) -> Row:
    try:
        return client.post(path, body)
    except Conflict as error:  # it may name the operator who was first
        raise Conflict(with_names(error.summary), error.hint) from error


def _changed(done: Row, json: bool) -> None:
    if json:
        console.write_json(done)
    else:
        console.write(done["text"])


def _show_connections(client: Client, agent: str) -> None:
    try:
        render.show_connections(client.row(f"/api/agents/{agent}/network/connections")["connections"])
    except TransientError as error:
        console.progress(f"hive: its connections cannot be shown: {error.summary}")


def _follow(client: Client, agent: str, json: bool) -> None:
    path, patience = f"/api/agents/{agent}/network/connections", Patience()
    seen: Seen | None = None
    while True:
        try:
            answer = client.row(path, {"after": seen.after} if seen is not None else None)
            patience.end()
        except LOST as error:
            if seen is None and not isinstance(error, TransientError):
                raise  # a daemon that is not there at the start
            patience.wait(error)
            continue
        seen = seen or Seen(answer)
        for each in seen.new(answer):
            if json:
                console.write_json_line({"agent": agent, **each})
            else:
                console.write(render.sentence(each))
        console.flush()
        time.sleep(FOLLOW_SECONDS)


class Seen:
    """What --follow has printed: each connection when it begins and when it ends, or once if both were missed.

    `after` is the number to ask from. A connection has its number from its end on.
    """

    def __init__(self, answer: Row) -> None:
        """Leave out what ended before the first answer."""
        self.after = int(answer["next"])
        self._open: set[tuple[object, ...]] = set()

    def new(self, answer: Row) -> list[Row]:
        """Return what was not printed yet, in order."""
        ended = [each for each in answer["connections"] if each["end"] and each["number"] > self.after]
        going_on = {(each["at"], each["host"], each["port"]): each for each in answer["connections"] if not each["end"]}
        fresh = [*ended, *(each for key, each in going_on.items() if key not in self._open)]
        self.after, self._open = int(answer["next"]), set(going_on)
        return fresh

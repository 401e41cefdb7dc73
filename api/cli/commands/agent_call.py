"""`hive agent-call`: one request on an agent's own socket, as if the agent sent it. For debugging.

Annotations are read at run time here, so evaluation is not postponed.
"""

import json
import socket
from typing import Annotated

import typer

from api.cli.client.exit_codes import Code, Unreachable
from api.cli.client.http import Client
from api.cli.command import DAEMON, AgentArgument, command
from api.cli.render import console
from api.sockets.listener import connect_to_agent
from meta.errors import BadInput, NotFound
from meta.layout import Layout
from meta.names import agent_name

DEADLINE = 70.0
"""Seconds; a `recv` may wait for 60."""
LINE_LIMIT = 16 * 2**20


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("hive agent-call alice whoami", """hive agent-call alice '{"cmd":"recent","limit":3}'""")
    command(app, "agent-call", DAEMON, examples=examples)(agent_call)


def agent_call(
    client: Client,
    agent: AgentArgument,
    request: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST", help="a line of JSON, or the name of a command without fields", show_default=False
        ),
    ],
) -> None:
    """Send a request as an agent, on its own socket, and print the line of the answer.

    It acts as the agent: `recv` takes a message out of the agent's inbox. Only users who may open the socket can call
    it. If hive answers with an error, the answer is printed and the exit code is 1.
    """
    where = client.where
    path = Layout(where.state, where.runtime).mcp_socket(agent_name(agent))
    line = request if request.lstrip().startswith("{") else json.dumps({"cmd": request})
    if "\n" in line.strip():
        raise BadInput("a request is one line", "write the JSON on one line")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        try:
            connect_to_agent(sock, path)
            sock.sendall(line.strip().encode() + b"\n")
            answer = _answer(client, sock)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                _check_known(client, agent)
            why = error.strerror or str(error)
            raise Unreachable(
                f"{path} does not answer: {why}", "see `hive status`, and check the owner of the socket"
            ) from error
    console.write(answer)
    if _is_error(answer):
        raise typer.Exit(Code.FAILED)


def _is_error(answer: str) -> bool:
    """Return True for an error, and for an answer that is not hive's: the agent may listen at its socket itself."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return True
    return not isinstance(value, dict) or value.get("kind") == "err"


def _check_known(client: Client, agent: str) -> None:
    """Raise NotFound if the daemon knows no such agent, Unreachable if no daemon answers."""
    if all(row["agent"] != agent for row in client.rows("/api/agents")):
        raise NotFound(f"there is no agent {agent}", "see `hive list`")


def _answer(client: Client, sock: socket.socket) -> str:
    received = b""
    while not received.endswith(b"\n") and len(received) < LINE_LIMIT:
        part = client.receive(sock, DEADLINE)
        if not part:
            raise Unreachable("the daemon closed the connection without an answer", "see its log")
        received += part
    return received.decode("utf-8", "replace").rstrip("\n")

"""Messages, questions, reminders and open matters between the operator and agents.

Annotations are read at run time here, so evaluation is not postponed.
"""

import time
from textwrap import indent
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.exit_codes import Code, Interrupted
from api.cli.client.http import Client, Row
from api.cli.client.patience import LOST, Patience
from api.cli.command import AgentArgument, JsonOption, YesOption, command, count_of
from api.cli.render import console
from api.cli.terminal.confirm import confirm
from api.cli.terminal.streams import read_stdin
from api.words import messages, times
from api.words.times import moment, span
from meta.errors import BadInput
from meta.names import ALL, OPERATOR, agent_name

TALK = "Talk to agents"
MAX_MESSAGES = 1000
_POLL_SECONDS = 30
"""Seconds that one request waits for an answer."""

RecipientArgument = Annotated[
    str,
    typer.Argument(
        metavar="TO", help="an agent's name, or '*' for all", autocompletion=completion.agents, show_default=False
    ),
]
TextArgument = Annotated[
    str, typer.Argument(metavar="TEXT", help="the text; - reads it from stdin", show_default=False)
]
QuestionArgument = Annotated[
    int, typer.Argument(metavar="ID", help="the question's id", autocompletion=completion.questions, show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(app, "send", TALK, examples=("hive send alice 'look at the build'", "hive send '*' -- -"))(send)
    command(app, "inbox", TALK, examples=("hive inbox", "hive inbox --read"))(inbox)
    command(app, "ask", TALK, examples=("hive ask alice 'which branch?' -o main -o next --wait",))(ask)
    command(app, "questions", TALK, examples=("hive questions", "hive questions 3"))(questions)
    command(app, "answer", TALK, examples=("hive answer 3 main", "hive answer 3 red green"))(answer)
    command(app, "remind", TALK, examples=("hive remind alice 'look again' --in 2h",))(remind)
    command(app, "loose-ends", TALK, examples=("hive loose-ends",))(loose_ends)
    command(app, "cancel-loose-end", TALK, examples=("hive cancel-loose-end reminder 4",))(cancel_loose_end)
    command(app, "dead-letters", TALK, examples=("hive dead-letters", "hive dead-letters --revive 12"))(dead_letters)


def send(
    client: Client,
    recipient: RecipientArgument,
    body: TextArgument,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="a second message with the same key is not sent")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send a message to an agent, or to all of them, as the operator."""
    if recipient != ALL:
        agent_name(recipient)
    sent = client.post("/api/messages", {"to": recipient, "body": _text(body), **({"key": key} if key else {})})
    where = "the inboxes of all agents" if recipient == ALL else f"the inbox of {recipient}"
    _write(sent, json, f"message {sent['id']} waits in {where}")


def inbox(
    client: Client,
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many messages")] = 20,
    unread: Annotated[bool, typer.Option("--unread", help="only those that are not marked as read")] = False,
    read: Annotated[bool, typer.Option("--read", help="mark the messages that are shown as read")] = False,
    json: JsonOption = False,
) -> None:
    """Show the newest messages to the operator, the newest last, with their texts indented.

    Messages stay unread unless --read is given, which marks the shown ones and no others. Messages from hive itself,
    such as the answer to a question, are shown as sentences; --json has their JSON.
    """
    rows = client.rows("/api/messages", {"limit": count_of(count, MAX_MESSAGES), "unread": unread})
    if json:
        console.write_json(rows)
    for row in [] if json else reversed(rows):
        mark = "unread  " if row["unread"] else ""
        console.heading(f"{row['id']}  {times.local_time(row['at'])}  {mark}from {row['from']}")
        console.write(indent(messages.text(row).rstrip("\n"), "    ", lambda _: True) + "\n")
    if not rows and not json:
        console.write("no unread message" if unread else "no message")
    if read and rows:
        console.flush()  # what could not be shown is not read
        client.post("/api/messages/read", {"ids": [row["id"] for row in rows]})


def ask(
    client: Client,
    agent: AgentArgument,
    question: TextArgument,
    option: Annotated[
        list[str] | None,
        typer.Option("-o", "--option", metavar="TEXT", help="a suggested answer; any other text is allowed too"),
    ] = None,
    multi: Annotated[bool, typer.Option("--multi", help="allow several answers")] = False,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="TIME", help="the question expires after this time: 10m, 2h")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="wait for the answer and print it")] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="stop waiting after this time; the question stays open")
    ] = "10m",
    json: JsonOption = False,
) -> None:
    """Ask an agent a question. The answer comes to the operator's inbox; --wait prints it here."""
    body = {"to": agent, "question": _text(question), "options": option or [], "multi": multi}
    patience = span(timeout)
    asked = client.post("/api/questions", {**body, "ttl_seconds": None if ttl is None else int(span(ttl))})
    if not wait:
        _write(asked, json, f"question {asked['id']} is asked of {agent}")
        return
    try:
        answered = _answered(client, asked["id"], patience)
    except KeyboardInterrupt:
        look = f"`hive questions {asked['id']}` shows its answer"
        raise Interrupted(f"interrupted; question {asked['id']} to {agent} stays open", look) from None
    if json:
        console.write_json(answered)
    elif answered["answer"] is None:
        raise typer.Exit(_given_up(answered["id"], agent))
    else:
        console.write(str(answered["answer"]))


def questions(
    client: Client,
    id: Annotated[
        int | None,
        typer.Argument(
            metavar="ID", help="show this question in full", autocompletion=completion.questions, show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List open questions, newest first and shortened. With ID show one question in full.

    `hive answer` answers any of them.
    """
    if id is not None:
        _one_question(client.row(f"/api/questions/{id}"), json)
        return
    rows = client.rows("/api/questions")
    if json:
        console.write_json(rows)
        return
    console.table(
        ("ID", "FROM", "TO", "AGE", "QUESTION", "OPTIONS"),
        [
            (row["id"], row["asker"], row["target"], times.age(row["asked_at"]), row["question"], _options(row))
            for row in rows
        ],
        empty="no open question",
        optional=("AGE", "OPTIONS"),
    )
    mine = [row["id"] for row in rows if row["target"] == OPERATOR]
    if mine:
        console.write(f"\nto answer: `hive answer {mine[0]} TEXT`; options are suggestions, any text is allowed")


def answer(
    client: Client,
    id: QuestionArgument,
    words: Annotated[
        list[str],
        typer.Argument(metavar="ANSWER...", help="several words are joined by ', '; - reads stdin", show_default=False),
    ],
    json: JsonOption = False,
) -> None:
    """Answer a question, to the operator or to any agent."""
    text = _text(words[0]) if len(words) == 1 else ", ".join(words)
    _write(client.post(f"/api/questions/{id}/answer", {"answer": text}), json, f"question {id} is answered")


def remind(
    client: Client,
    agent: AgentArgument,
    message: TextArgument,
    after: Annotated[str | None, typer.Option("--in", metavar="TIME", help="the time from now: 10m, 2h, 1d")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="WHEN", help="local time, as 2026-05-01T12:00")] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="keep the text in this file below /state/reminders")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send an agent a message later. Its sender is `reminder`."""
    if (after is None) == (at is None):
        raise BadInput("give either --in or --at", "`hive remind alice 'look again' --in 2h`")
    timing: Row
    if at is not None:
        timing = {"timing_type": "at", "unix_timestamp": int(moment(at))}
    else:
        timing = {"timing_type": "in_seconds", "seconds": int(span(after or ""))}
    body = {"message": _text(message), "timing": timing, "file_path": file}
    reminder = client.post(f"/api/agents/{agent}/reminders", body)
    _write(reminder, json, f"reminder {reminder['id']} for {agent} is due {times.local_time(reminder['due_at'])}")


def loose_ends(client: Client, json: JsonOption = False) -> None:
    """List everything that is open: approvals, questions, reminders; newest first within each kind."""
    rows = client.rows("/api/loose-ends")
    if json:
        console.write_json(rows)
        return
    console.table(("KIND", "ID", "WHOSE", "AGE", "WHAT"), map(_end, rows), empty="nothing is open", optional=("AGE",))


def cancel_loose_end(
    client: Client,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="question or reminder", show_default=False)],
    id: Annotated[int, typer.Argument(metavar="ID", help="its id, from `hive loose-ends`", show_default=False)],
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Cancel a question, which notifies its asker, or a reminder. Use `hive deny` for an approval. It asks first."""
    if kind not in ("question", "reminder"):
        raise BadInput(f"{kind[:40]!r} is neither question nor reminder", "`hive deny ID` for an approval")
    confirm(f"{kind} {id} will be removed for ever", yes=yes)
    _write(client.post(f"/api/{kind}s/{id}/cancel"), json, f"{kind} {id} is cancelled")


def dead_letters(
    client: Client,
    revive: Annotated[int | None, typer.Option("--revive", metavar="ID", help="deliver this message again")] = None,
    discard: Annotated[int | None, typer.Option("--discard", metavar="ID", help="remove this message for ever")] = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """List messages that were delivered several times and never acknowledged. --discard asks first."""
    if revive is not None and discard is not None:
        raise BadInput("--revive and --discard exclude each other", "give one of them")
    if revive is not None:
        _write(client.post(f"/api/dead-letters/{revive}/revive"), json, f"message {revive} waits again")
        return
    if discard is not None:
        confirm(f"message {discard} will be removed for ever", yes=yes)
        _write(client.delete(f"/api/dead-letters/{discard}"), json, f"message {discard} is removed")
        return
    rows = client.rows("/api/dead-letters")
    if json:
        console.write_json(rows)
        return
    console.table(
        ("ID", "FROM", "TO", "DIED", "TRIES", "BODY"),
        [
            (row["id"], row["sender"], row["recipient"], times.local_time(row["dead_at"]), row["attempts"], row["body"])
            for row in rows
        ],
        empty="no dead letter",
        optional=("TRIES", "DIED"),
    )


def _one_question(row: Row, json: bool) -> None:
    if json:
        console.write_json(row)
        return
    console.heading(f"{row['id']}  {times.local_time(row['asked_at'])}  from {row['asker']} to {row['target']}")
    console.write(indent(row["question"].rstrip("\n"), "    ", lambda _: True))
    for option in row["options"]:
        console.write(f"  - {option}")
    if row["answer"] is not None:
        console.write(f"answered by {row['answerer']}:")
        console.write(indent(row["answer"].rstrip("\n"), "    ", lambda _: True))


def _options(row: Row) -> str:
    several = " (one or several)" if row["multi"] else ""
    if row.get("cut") and not row["options"]:
        return f"see `hive questions {row['id']}`"
    return f"{', '.join(row['options'])}{several}" if row["options"] else ""


def _answered(client: Client, id: int, patience: float) -> Row:
    """Return the question when it is answered, or after `patience` seconds as it is."""
    deadline = time.monotonic() + patience
    lost = Patience()
    while True:
        remaining = max(0.0, deadline - time.monotonic())
        try:
            answered = client.row(f"/api/questions/{id}", {"wait": min(_POLL_SECONDS, remaining)})
        except LOST as error:
            if remaining <= 0:
                raise
            lost.wait(error, remaining)
            continue
        lost.end()
        if answered["answer"] is not None or remaining <= 0:
            return answered


def _given_up(id: int, agent: str) -> int:
    console.progress(f"{agent} has not answered question {id} yet; it stays open, see `hive questions`")
    return Code.TIMEOUT


def _end(row: Row) -> tuple[object, ...]:
    age = times.age(time.time() - row["age_seconds"])
    match row["kind"]:
        case "approval":
            return "approval", row["id"], row["agent"], age, row.get("description") or row["commit_ref"]
        case "question":
            whose = f"{row['asker']} to {row.get('target') or 'operator'}"
            return "question", row["id"], whose, age, row["question"]
        case _:
            return "reminder", row["id"], row["owner"], age, f"{times.local_time(row['due_at'])}: {row['message']}"


def _write(answer: Row, json: bool, text: str) -> None:
    if json:
        console.write_json(answer)
    else:
        console.write(text)


def _text(given: str) -> str:
    return read_stdin() if given == "-" else given

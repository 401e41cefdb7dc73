"""Commands with which the operator talks to agents: messages, questions, reminders, and what is still open.

Annotations are read at run time here, so evaluation is not postponed.
"""

import sys
import time
from textwrap import indent
from typing import Annotated

import typer

from api.cli.client import completion
from api.cli.client.exit_codes import Code
from api.cli.client.http import Client, Row
from api.cli.command import AgentArgument, JsonOption, command, count_of
from api.cli.render import messages, output
from api.cli.render.times import moment, span
from meta.errors import BadInput
from meta.names import ALL, OPERATOR, agent_name

TALK = "Talk to agents"
MOST = 1000
_PAGE_SECONDS = 30
"""Seconds that one request waits for an answer."""

RecipientArgument = Annotated[
    str,
    typer.Argument(
        metavar="TO", help="an agent's name, or '*' for all", autocompletion=completion.agents, show_default=False
    ),
]
TextArgument = Annotated[str, typer.Argument(metavar="TEXT", help="- reads it from stdin", show_default=False)]
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
        str | None, typer.Option("--key", metavar="KEY", help="a second message with the same key is not sent again")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send a message to an agent, or to all of them, as the operator."""
    if recipient != ALL:
        agent_name(recipient)
    sent = client.post("/api/messages", {"to": recipient, "body": _text(body), **({"key": key} if key else {})})
    where = "the inboxes of all agents" if recipient == ALL else f"the inbox of {recipient}"
    _say(sent, json, f"message {sent['id']} waits in {where}")


def inbox(
    client: Client,
    count: Annotated[int, typer.Option("-n", metavar="N", help="how many of the newest")] = 20,
    read: Annotated[bool, typer.Option("--read", help="they count as read from now on")] = False,
    json: JsonOption = False,
) -> None:
    """The newest messages to the operator, the newest last, their texts indented. Looking changes nothing unless --read
    is given.

    What hive itself tells, as the answer to a question, is shown as a sentence; --json has it as it is.
    """
    rows = client.rows("/api/messages", {"limit": count_of(count, MOST)})
    if json:
        output.say_json(rows)
    for row in [] if json else reversed(rows):
        output.heading(f"{row['id']}  {output.when(row['at'])}  from {row['from']}")
        output.say(indent(messages.text(row).rstrip("\n"), "    ", lambda _: True) + "\n")
    if not rows and not json:
        output.say("no message")
    if read and rows:
        client.post("/api/messages/read", {"up_to": max(row["id"] for row in rows)})


def ask(
    client: Client,
    agent: AgentArgument,
    question: TextArgument,
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", metavar="TEXT", help="an answer to choose; free text is too")
    ] = None,
    multi: Annotated[bool, typer.Option("--multi", help="several answers may be chosen")] = False,
    ttl: Annotated[str | None, typer.Option("--ttl", metavar="TIME", help="it expires after so long: 10m, 2h")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="wait for the answer and print it")] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="give up waiting after so long; the question stays")
    ] = "10m",
    json: JsonOption = False,
) -> None:
    """Ask an agent; its answer comes to the operator's inbox, or here with --wait."""
    body = {"to": agent, "question": _text(question), "options": option or [], "multi": multi}
    patience = span(timeout)
    asked = client.post("/api/questions", {**body, "ttl_seconds": None if ttl is None else int(span(ttl))})
    if not wait:
        _say(asked, json, f"question {asked['id']} is asked of {agent}")
        return
    found = _answered(client, asked["id"], patience)
    if json:
        output.say_json(found)
    elif found["answer"] is None:
        raise typer.Exit(_given_up(found["id"], agent))
    else:
        output.say(str(found["answer"]))


def questions(
    client: Client,
    id: Annotated[
        int | None,
        typer.Argument(metavar="ID", help="one, in full", autocompletion=completion.questions, show_default=False),
    ] = None,
    json: JsonOption = False,
) -> None:
    """The questions that are open, newest first, long ones cut; with ID one of them as it was asked.

    Any of them can be answered with `hive answer`.
    """
    if id is not None:
        _one_question(client.row(f"/api/questions/{id}"), json)
        return
    rows = client.rows("/api/questions")
    if json:
        output.say_json(rows)
        return
    output.table(
        ("ID", "FROM", "TO", "AGE", "QUESTION", "OPTIONS"),
        [
            (row["id"], row["asker"], row["target"], output.ago(row["asked_at"]), row["question"], _options(row))
            for row in rows
        ],
        empty="no open question",
        optional=("AGE", "OPTIONS"),
    )
    mine = [row["id"] for row in rows if row["target"] == OPERATOR]
    if mine:
        output.say(f"\nto answer: `hive answer {mine[0]} TEXT`; options are advice, any text will do")


def answer(
    client: Client,
    id: QuestionArgument,
    words: Annotated[
        list[str],
        typer.Argument(metavar="ANSWER...", help="several are joined by ', '; - reads stdin", show_default=False),
    ],
    json: JsonOption = False,
) -> None:
    """Answer a question, one's own or any other."""
    text = _text(words[0]) if len(words) == 1 else ", ".join(words)
    _say(client.post(f"/api/questions/{id}/answer", {"answer": text}), json, f"question {id} is answered")


def remind(
    client: Client,
    agent: AgentArgument,
    message: TextArgument,
    after: Annotated[str | None, typer.Option("--in", metavar="TIME", help="so long from now: 10m, 2h, 1d")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="WHEN", help="as 2026-05-01T12:00, local time")] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="PATH", help="keep the text there, below /state/reminders")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Let an agent have a message later, from `reminder`."""
    if (after is None) == (at is None):
        raise BadInput("say when: either --in or --at", "`hive remind alice 'look again' --in 2h`")
    timing: Row
    if at is not None:
        timing = {"timing_type": "at", "unix_timestamp": int(moment(at))}
    else:
        timing = {"timing_type": "in_seconds", "seconds": int(span(after or ""))}
    body = {"message": _text(message), "timing": timing, "file_path": file}
    made = client.post(f"/api/agents/{agent}/reminders", body)
    _say(made, json, f"reminder {made['id']} for {agent} is due {output.when(made['due_at'])}")


def loose_ends(client: Client, json: JsonOption = False) -> None:
    """Everything that is open: approvals, questions, reminders; newest first within each kind."""
    rows = client.rows("/api/loose-ends")
    if json:
        output.say_json(rows)
        return
    output.table(("KIND", "ID", "WHOSE", "AGE", "WHAT"), map(_end, rows), empty="nothing is open", optional=("AGE",))


def cancel_loose_end(
    client: Client,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="question or reminder", show_default=False)],
    id: Annotated[int, typer.Argument(metavar="ID", help="its id, as `hive loose-ends` has it", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Cancel a question (its asker is told) or a reminder. An approval is denied with `hive deny`."""
    if kind not in ("question", "reminder"):
        raise BadInput(f"{kind[:40]!r} is neither question nor reminder", "`hive deny ID` for an approval")
    _say(client.post(f"/api/{kind}s/{id}/cancel"), json, f"{kind} {id} is cancelled")


def dead_letters(
    client: Client,
    revive: Annotated[int | None, typer.Option("--revive", metavar="ID", help="deliver this one again")] = None,
    discard: Annotated[int | None, typer.Option("--discard", metavar="ID", help="remove this one for ever")] = None,
    json: JsonOption = False,
) -> None:
    """Messages that were handed out again and again and never acknowledged."""
    if revive is not None and discard is not None:
        raise BadInput("--revive and --discard are two things", "give one of them")
    if revive is not None:
        _say(client.post(f"/api/dead-letters/{revive}/revive"), json, f"message {revive} waits again")
        return
    if discard is not None:
        _say(client.delete(f"/api/dead-letters/{discard}"), json, f"message {discard} is removed")
        return
    rows = client.rows("/api/dead-letters")
    if json:
        output.say_json(rows)
        return
    output.table(
        ("ID", "FROM", "TO", "DIED", "TRIES", "BODY"),
        [
            (row["id"], row["sender"], row["recipient"], output.when(row["dead_at"]), row["attempts"], row["body"])
            for row in rows
        ],
        empty="no dead letter",
        optional=("TRIES", "DIED"),
    )


def _one_question(row: Row, json: bool) -> None:
    if json:
        output.say_json(row)
        return
    output.heading(f"{row['id']}  {output.when(row['asked_at'])}  from {row['asker']} to {row['target']}")
    output.say(indent(row["question"].rstrip("\n"), "    ", lambda _: True))
    for option in row["options"]:
        output.say(f"  - {option}")
    if row["answer"] is not None:
        output.say(f"answered by {row['answerer']}:")
        output.say(indent(row["answer"].rstrip("\n"), "    ", lambda _: True))


def _options(row: Row) -> str:
    several = " (one or several)" if row["multi"] else ""
    if row.get("cut") and not row["options"]:
        return f"see `hive questions {row['id']}`"
    return f"{', '.join(row['options'])}{several}" if row["options"] else ""


def _answered(client: Client, id: int, patience: float) -> Row:
    """The question once it is answered, or as it is after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        left = max(0.0, deadline - time.monotonic())
        found = client.row(f"/api/questions/{id}", {"wait": min(_PAGE_SECONDS, left)})
        if found["answer"] is not None or left <= 0:
            return found


def _given_up(id: int, agent: str) -> int:
    output.progress(f"{agent} has not answered question {id} yet; it stays open, see `hive questions`")
    return Code.TIMEOUT


def _end(row: Row) -> tuple[object, ...]:
    age = output.ago(time.time() - row["age_seconds"])
    match row["kind"]:
        case "approval":
            return "approval", row["id"], row["agent"], age, row.get("description") or row["commit_ref"]
        case "question":
            whose = f"{row['asker']} to {row.get('target') or 'operator'}"
            return "question", row["id"], whose, age, row["question"]
        case _:
            return "reminder", row["id"], row["owner"], age, f"{output.when(row['due_at'])}: {row['message']}"


def _say(answer: Row, json: bool, text: str) -> None:
    if json:
        output.say_json(answer)
    else:
        output.say(text)


def _text(given: str) -> str:
    return sys.stdin.read() if given == "-" else given

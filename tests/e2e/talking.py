"""The story's chapter about talk: alice, bob and the operator, by broadcast, question and reminder.

Both agents are real processes with the script runtime; the operator has the `hive` command and nothing else.
"""

from __future__ import annotations

from typing import Any

from tests.e2e.words import Story, check

PRESENT = r"""
[[script]]
from = "operator"
when = '\[broadcast\] .*'
reply = "{self} is here"
"""
"""Both answer a broadcast of the operator's."""

ALICE = (
    PRESENT
    + r"""
[[script]]
from = "operator"
when = "release it"
ask = { to = "operator", question = "from which branch?", options = ["main", "next"] }
[[script]]
from = "system"
when = '.*"event":"question_asked".*'
answer = "at noon"
[[script]]
from = "system"
when = '.*"question":"from which branch\?","answer":"(?P<branch>[^"]*)".*'
ask = { to = "bob", question = "do the tests of {branch} pass?", options = ["yes", "no"] }
[[script]]
from = "system"
when = '.*"question":"do the tests of (?P<branch>\w+) pass\?","answer":"(?P<answer>\w+)","answerer":"(?P<who>\w+)".*'
send = { to = "operator", body = "releasing {branch}: {who} says {answer}" }
[[script]]
from = "reminder"
send = { to = "*", body = "alice was reminded: {body}" }
"""
)
"""Alice's rules: whom she asks what, and that she tells everybody what she is reminded of."""

BOB = (
    PRESENT
    + r"""
[[script]]
from = "system"
when = '.*"event":"question_asked".*'
answer = "yes"
[[script]]
from = "alice"
when = '\[broadcast\] (?P<said>.*)'
send = { to = "operator", body = "bob heard it: {said}" }
[[script]]
from = "operator"
when = "look at the build in a second"
remind = { message = "look at the build", seconds = 1 }
[[script]]
from = "reminder"
send = { to = "operator", body = "bob was reminded: {body}" }
"""
)
"""Bob's rules."""


def talk(story: Story, id: int) -> None:
    """The chapter. `id` is that of the proposal with the rules of bob, who was spawned before."""
    story.healthy("bob")
    story.edit(BOB, "bob")
    card = story.json("propose", "bob")
    check(card["id"] == id, f"expected proposal {id}, got {card}")
    story.hive("approve", str(id))
    story.ended(id)
    bob, alice = story.healthy("bob"), story.healthy("alice")
    story.say("bob joins", f"deployed/{id}, {bob['turn']} beside alice, who is {alice['turn']}")
    broadcast(story)
    questions(story)
    reminders(story)


def broadcast(story: Story) -> None:
    story.hive("send", "*", "who is here?")
    heard(story, "alice", "alice is here")
    heard(story, "bob", "bob is here")
    unread = story.json("status")["unread"]
    check(unread >= 2, f"hive status counts {unread} messages to the operator")
    seen = f'`hive inbox` has "alice is here" and "bob is here", {unread} unread'
    story.say("`hive send '*' 'who is here?'`", seen)
    story.hive("inbox", "--read")
    check(story.json("status")["unread"] == 0, "what was read still counts as unread")


def questions(story: Story) -> None:
    said = story.hive("ask", "alice", "when?", "-o", "now", "-o", "at noon", "--wait", "--timeout", "20s").strip()
    check(said == "at noon", f"alice answered {said!r}")
    story.say("`hive ask alice 'when?' --wait`", f'alice answers "{said}"')

    story.hive("send", "alice", "release it")
    asked = story.until("alice's question", lambda: open_question(story, "alice"))
    check(asked["options"] == ["main", "next"], f"the options are {asked['options']}")
    table = story.hive("questions")
    check("from which branch?" in table and f"hive answer {asked['id']}" in table, f"hive questions says {table}")
    story.say("alice asks the operator", f'`hive questions`: "{asked["question"]}" ({", ".join(asked["options"])})')

    story.hive("answer", str(asked["id"]), "main")
    told = heard(story, "alice", "releasing main: bob says yes")
    ends = [event["data"]["by"] for event in story.json("events", "-n", "200") if event["kind"] == "question_answered"]
    check(ends[-2].startswith("operator uid ") and ends[-1] == "bob", f"the questions were answered by {ends}")
    story.say(f"`hive answer {asked['id']} main`", f'alice asks bob if its tests pass, and tells: "{told}"')


def reminders(story: Story) -> None:
    story.hive("remind", "alice", "stand-up", "--in", "1s")
    waiting = [end["message"] for end in story.json("loose-ends") if end["kind"] == "reminder"]
    check(waiting == ["stand-up"], f"hive loose-ends has the reminders {waiting}")
    told = heard(story, "bob", "bob heard it: alice was reminded: stand-up")
    story.say("`hive remind alice stand-up --in 1s`", f'she tells all: "{told}"')

    story.hive("send", "bob", "look at the build in a second")
    told = heard(story, "bob", "bob was reminded: look at the build")
    open = story.json("loose-ends")
    check(not open, f"something is still open: {open}")
    check(not story.json("dead-letters"), "there are dead letters")
    story.say("bob reminds himself", f'"{told}"; `hive loose-ends` is empty, no dead letter')


def heard(story: Story, sender: str, body: str) -> str:
    """Wait until `hive inbox` has this message."""

    def look() -> str | None:
        return next((row["body"] for row in story.json("inbox") if (row["from"], row["body"]) == (sender, body)), None)

    return story.until(f"{sender}'s message {body!r}", look)


def open_question(story: Story, asker: str) -> dict[str, Any] | None:
    """The open question of `asker`, as `hive questions` has it."""
    return next((dict(row) for row in story.json("questions") if row["asker"] == asker), None)

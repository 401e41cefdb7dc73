"""`hive inbox`: what is marked as read is what was shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from api.cli.client.exit_codes import Code

if TYPE_CHECKING:
    from tests.api.conftest import Hive


async def unread(hive: Hive) -> list[str]:
    _, out, _ = await hive.hive("inbox", "--json")
    return [row["body"] for row in json.loads(out) if row["unread"]]


async def test_only_the_messages_that_were_shown_are_marked_as_read(hive: Hive) -> None:
    for number in range(5):
        await hive.fake.broker.send("alice", "operator", f"m{number}")
    code, out, _ = await hive.hive("inbox", "-n", "2", "--read")
    assert (code, out.count("unread"), "m3" in out, "m4" in out) == (0, 2, True, True)
    assert await unread(hive) == ["m2", "m1", "m0"]
    code, out, _ = await hive.hive("inbox")
    assert ["unread" in line for line in out.splitlines() if "from alice" in line] == [*[True] * 3, *[False] * 2]
    _, out, _ = await hive.hive("inbox", "--unread", "-n", "1", "--read", "--json")
    assert [row["body"] for row in json.loads(out)] == ["m2"]
    assert await unread(hive) == ["m1", "m0"]
    await hive.hive("inbox", "--unread", "--read")
    assert (await hive.hive("inbox", "--unread"))[1] == "no unread message\n"
    assert await hive.fake.broker.unread("operator") == 0


async def test_up_to_still_marks_all_older_ones_and_one_of_the_two_is_needed(hive: Hive) -> None:
    ids = [await hive.fake.broker.send("alice", "operator", f"m{number}") for number in range(3)]
    await hive.fake.broker.mark_these_read([ids[2]])
    assert await unread(hive) == ["m1", "m0"]
    assert await hive.fake.broker.mark_read(ids[1]) == 2
    process = await hive.program("-c", POST)
    out, _ = await process.communicate()
    assert out.decode() == "give either up_to or ids\n" * 2
    assert process.returncode == Code.OK


POST = """
from api.cli.client.http import Client
from api.cli.client.paths import find
from meta.errors import BadInput
for body in ({}, {"up_to": 1, "ids": [1]}):
    try:
        Client(find(None, None)).post("/api/messages/read", body)
    except BadInput as error:
        print(error.summary)
"""


async def test_messages_lists_all_inboxes_and_says_how_to_see_older_ones(hive: Hive) -> None:
    broker = hive.fake.broker
    ids = [await broker.send("alice", "manager", f"m{number}\x1b[2J") for number in range(3)]
    code, out, progress = await hive.hive("messages", "-n", "2")
    assert (code, "m0" in out, out.index("m1") < out.index("m2"), "\x1b" in out) == (0, False, True, False)
    assert "alice to manager  waiting" in out
    assert f"--before {ids[1]}" in progress
    assert "m0" in (await hive.hive("messages", "--before", str(ids[1])))[1]
    assert (await hive.hive("messages", "--search", "nothing"))[1] == "no message\n"
    assert json.loads((await hive.hive("messages", str(ids[0]), "--json"))[1])["body"] == "m0\x1b[2J"

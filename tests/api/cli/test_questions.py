"""What the operator's words do where something is not as usual: errors, long questions, times."""

from __future__ import annotations

import json

from api.cli.client.exit_codes import Code
from tests.api.conftest import Hive
from tests.support.fake_service import NOW


async def test_a_call_as_an_agent_fails_where_hive_answers_with_an_error(hive: Hive) -> None:
    code, out, _ = await hive.hive("agent-call", "alice", "recieve")
    assert (code, json.loads(out)["kind"]) == (Code.FAILED, "err")
    code, out, _ = await hive.hive("agent-call", "alice", "whoami")
    assert (code, json.loads(out)["name"]) == (Code.OK, "alice")


async def test_a_call_as_an_agent_that_is_not_there_says_so(hive: Hive) -> None:
    code, out, err = await hive.hive("agent-call", "nobody", "whoami")
    assert (code, out) == (Code.NOT_FOUND, "")
    assert "there is no agent nobody" in err


async def test_a_call_as_an_agent_whose_socket_is_gone_says_so(hive: Hive) -> None:
    hive.layout.mcp_socket(hive.fake.names[0]).unlink()
    code, _, err = await hive.hive("agent-call", "alice", "whoami")
    assert code == Code.UNREACHABLE
    assert "No such file" in err


async def test_agent_call_does_not_follow_a_symlink_in_the_agents_directory(hive: Hive) -> None:
    path = hive.layout.mcp_socket(hive.fake.names[0])
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    code, out, err = await hive.hive("agent-call", "alice", "whoami")
    assert (code, out) == (Code.UNREACHABLE, "")
    assert "it is not a socket" in err


async def test_a_long_question_is_cut_in_the_list_and_whole_by_its_id(hive: Hive) -> None:
    text = "why? " * 2000
    options = [f"{n:02}{'o' * 500}" for n in range(5)]
    await hive.fake.questions.ask("alice", text, tuple(options), False, None, None)
    code, out, _ = await hive.hive("questions", "--json")
    (row,) = json.loads(out)
    assert (code, row["cut"], row["options"]) == (0, True, [])
    assert row["question"].endswith("…")
    code, out, _ = await hive.hive("questions", "1")
    assert code == 0
    assert text.strip() in out
    assert all(option in out for option in options)
    code, _, _ = await hive.hive("questions", "9")
    assert code == Code.NOT_FOUND


async def test_the_time_of_a_reminder_is_the_one_that_is_kept(hive: Hive) -> None:
    code, out, _ = await hive.hive("remind", "alice", "look", "--in", "2h", "--json")
    (kept,) = await hive.fake.reminders.of("alice")
    assert (code, json.loads(out)) == (0, {"id": kept.id, "due_at": kept.due_at})
    assert kept.due_at >= NOW() + 7200

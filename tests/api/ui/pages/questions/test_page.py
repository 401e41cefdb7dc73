"""The page Questions over a service: who asks whom, answers in place, what has ended, and hostile words."""

from __future__ import annotations

import html
import re

import pytest

from api.ui.pages.questions.rows import ended_row
from api.words.users import with_names
from meta.names import AgentName
from reconciler.messaging.questions import Question
from tests.api.ui.conftest import Ui
from tests.support.fake_service import NOW
from tests.support.html_page import Page, faults_of

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)><hx-partial hx-target="#nav">{{7*7}}\u202egnp'


async def shown(ui: Ui, path: str = "/questions") -> str:
    answer = await ui.get(path)
    assert answer.status_code == 200, answer.text
    assert faults_of(Page(answer.text)) == []
    return html.unescape(answer.text)


async def ask(ui: Ui, text: str, options: tuple[str, ...] = (), to: str | None = None, ttl: int | None = None) -> int:
    return await ui.hive.fake.questions.ask("alice", text, options, False, ttl, to)


async def test_a_question_to_the_operator_is_answered_in_place(ui: Ui) -> None:
    id = await ask(ui, "which?", ("red", "blue"), ttl=60)
    text = await shown(ui)
    assert "1 for you" in text
    assert '<span class="kind">Open</span><h3><b>alice</b> asks: which?</h3><span class="kind"><time' in text
    assert "Other…" in text
    assert f'action="/needs-you/questions/{id}/answer"' in text
    await ui.post(f"/needs-you/questions/{id}/answer", {"choice": "1"})
    text = await shown(ui)
    assert "None for you" in text
    assert f"{with_names('operator uid 1000')}: blue" in text


async def test_a_question_between_agents_loads_its_form_and_the_operator_may_answer_it(ui: Ui) -> None:
    id = await ask(ui, "may I?", ("yes",), to="manager")
    assert "1 between agents" in await shown(ui)
    assert "/answer" not in await shown(ui)
    assert "your answer counts" in await shown(ui, f"/questions?show={id}")
    whole = await ui.get(f"/questions/{id}/whole")
    assert "your answer counts" in whole.text
    assert faults_of(Page(whole.text)) == []
    await ui.post(f"/needs-you/questions/{id}/answer", {"choice": "0"})
    assert (await ui.hive.fake.questions.get(id)).answerer == "operator uid 1000"


async def test_the_operator_asks_an_agent_with_options(ui: Ui) -> None:
    fields = {"to": "alice", "question": "which?", "options": "a\r\n\r\n b ", "multi": "1", "ttl": "600"}
    answer = await ui.post("/questions/ask", fields)
    assert answer.status_code == 200, answer.text
    (asked,) = await ui.hive.fake.questions.open()
    assert (asked.asker, asked.target, asked.options, asked.multi) == ("operator", "alice", ("a", "b"), True)
    assert asked.expires_at is not None
    assert asked.expires_at >= NOW() + 600


async def test_what_has_ended_is_listed_page_by_page_the_last_one_first(
    ui: Ui, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await ask(ui, f"question number {number}") for number in range(3)]
    for id in (ids[1], ids[0], ids[2]):
        await ui.hive.fake.questions.answer(id, "operator", f"answer of {id}")
    monkeypatch.setattr("api.ui.pages.questions.view.PAGE_ROWS", 2)
    text = await shown(ui)
    older = re.search(r'href="(/questions\?before=\d+)"', text)
    assert older is not None
    titles = re.findall(r"number (\d)", text) + re.findall(r"number (\d)", await shown(ui, older[1]))
    assert titles == ["2", "1", "0"]


async def test_who_has_waited_longest_stands_first(ui: Ui) -> None:
    for words in ("the first?", "the second?"):
        await ui.hive.fake.questions.ask("alice", words, (), False, None, None)
    text = (await ui.get("/questions")).text
    assert text.index("the first?") < text.index("the second?")


async def test_only_those_of_one_agent_are_shown_if_that_is_asked(ui: Ui) -> None:
    ui.hive.fake.names.append(AgentName("bob"))
    await ask(ui, "from alice")
    assert "from alice" in await shown(ui, "/questions?agent=alice")
    assert "from alice" not in await shown(ui, "/questions?agent=bob")


async def test_no_text_of_an_agent_is_markup(ui: Ui) -> None:
    ended = await ask(ui, HOSTILE, (HOSTILE,))
    await ui.hive.fake.questions.answer(ended, "operator", HOSTILE)
    await ask(ui, HOSTILE, (HOSTILE,))
    await ask(ui, HOSTILE, (HOSTILE,), to="manager")
    for path in ("/questions", f"/questions/{ended}/whole", "/questions?show=3"):
        page = Page((await ui.get(path)).text)
        assert not list(page.all("img", "hx-partial")), path
        assert not [each for each in page.all("script") if "src" not in each.attributes], path
        assert "\u202e" not in page.root.text, path


@pytest.mark.parametrize(
    ("answer", "by", "end"),
    [
        ("yes", "bob", "Answered"),
        ("[expired]", "system", "Expired"),
        ("[expired]", "bob", "Answered"),
        ("[cancelled by alice]", "alice", "Cancelled"),
        ("[cancelled by alice]", "bob", "Answered"),
    ],
)
def test_only_hives_own_words_end_a_question_without_an_answer(answer: str, by: str, end: str) -> None:
    assert ended_row(Question(1, "alice", "bob", "?", (), False, 1, None, 2, answer, by)).end == end

"""The open questions of an agent: to the operator with the form of the answer, to others, and to it."""

from __future__ import annotations

from tests.api.ui.conftest import Ui
from tests.support.html_page import Page

PATH = "/agents/alice/questions"
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(1)</script>{{7*7}}<hx-partial>\u202e'


async def test_questions_stand_by_who_has_to_answer(ui: Ui) -> None:
    ask = ui.hive.fake.questions.ask
    await ask("alice", "to the operator", ("yes", "no"), False, None, None)
    await ask("alice", "to the manager", (), False, None, "manager")
    await ask("manager", "to alice", (), False, None, "alice")
    await ask("manager", "of somebody else", (), False, None, None)
    text = (await ui.get(PATH)).text
    places = [text.index(words) for words in ("For you", "to the operator", "For other agents", "to the manager")]
    assert places == sorted(places) and "For alice" in text and "of somebody else" not in text
    assert 'action="/needs-you/questions/1/answer"' in text and ">Other…<" in text


async def test_a_question_whose_text_is_cut_is_answered_only_from_the_whole_of_it(ui: Ui) -> None:
    await ui.hive.fake.questions.ask("alice", "which? " * 2_000, ("a", "b"), False, None, None)
    text = (await ui.get(PATH)).text
    assert "/needs-you/questions/1/answer" not in text and 'hx-get="/questions/1/whole"' in text


async def test_what_was_answered_is_there_with_its_answer(ui: Ui) -> None:
    await ui.hive.fake.questions.ask("alice", "which one?", (), False, None, None)
    await ui.hive.fake.questions.ask("manager", "and of the manager?", (), False, None, None)
    for id in (1, 2):
        await ui.hive.fake.questions.answer(id, "operator", f"the answer {id}")
    text = (await ui.get(PATH)).text
    assert "the answer 1" in text and "the answer 2" not in text and "No open question" in text


async def test_without_one_it_says_what_would_be_here(ui: Ui) -> None:
    assert "No open question" in (await ui.get(PATH)).text


async def test_questions_and_options_are_text(ui: Ui) -> None:
    for _ in range(2):
        await ui.hive.fake.questions.ask("alice", HOSTILE, (HOSTILE, "b"), True, None, None)
    await ui.hive.fake.questions.answer(1, "operator", HOSTILE)
    page = Page((await ui.get(PATH)).text)
    assert not [*page.all("img", "hx-partial")] and page.faults == []
    assert not [each for each in page.all("script") if "alert" in each.text]

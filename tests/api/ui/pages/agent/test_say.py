"""The box at the foot of an agent's page: a message, or a command."""

from __future__ import annotations

import pytest

from tests.api.ui.conftest import Ui
from tests.api.ui.pages.agent.conftest import ALICE

WHO = "operator uid 1000"


async def unread(ui: Ui) -> list[str]:
    return [message.body for message in await ui.hive.fake.broker.recent(ALICE, 50)]


@pytest.mark.parametrize(
    ("typed", "body"), [("look at the test", "look at the test"), ("//etc/hosts?", "/etc/hosts?"), ("a\r\nb", "a\nb")]
)
async def test_a_text_is_a_message(ui: Ui, typed: str, body: str) -> None:
    answer = await ui.post("/agents/alice/say", {"text": typed})
    assert answer.status_code == 200 and "Sent to alice." in answer.text
    assert await unread(ui) == [body]


async def test_a_form_that_is_sent_twice_is_one_message(ui: Ui) -> None:
    for _ in range(2):
        await ui.post("/agents/alice/say", {"text": "once", "key": "k1"})
    assert await unread(ui) == ["once"]


@pytest.mark.parametrize(
    ("typed", "call"),
    [
        ("/compact", ("turn compact", ALICE, WHO)),
        (" /new-session ", ("turn new-session", ALICE, WHO)),
        ("/pause", ("turn pause", ALICE, WHO)),
        ("/model opus", ("set_model", ALICE, "opus", WHO)),
        ("/model --default", ("set_model", ALICE, None, WHO)),
    ],
)
async def test_a_word_with_a_slash_is_a_command(ui: Ui, typed: str, call: tuple[object, ...]) -> None:
    answer = await ui.post("/agents/alice/say", {"text": typed})
    assert answer.status_code == 200 and ui.hive.fake.calls[-1] == call
    assert await unread(ui) == []


async def test_model_alone_says_which_it_is(ui: Ui) -> None:
    assert "alice has haiku, set by hand." in (await ui.post("/agents/alice/say", {"text": "/model"})).text


@pytest.mark.parametrize("typed", ["/comapct", "/quit", "/compact now", "  "])
async def test_what_is_no_command_is_an_error_that_says_which_there_are(ui: Ui, typed: str) -> None:
    answer = await ui.post("/agents/alice/say", {"text": typed})
    assert answer.status_code == 400 and "what you typed is still here" in answer.text
    assert await unread(ui) == []

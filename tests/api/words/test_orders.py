"""What a line means that is typed to an agent."""

from __future__ import annotations

import pytest

from api.words.orders import Detach, Do, Explain, Order, Send, SetModel, ShowModel, order_of


@pytest.mark.parametrize(
    ("line", "order"),
    [
        ("look at it", Send("look at it")),
        ("  indented", Send("  indented")),
        ("//etc is a folder", Send("/etc is a folder")),
        ("a /pause", Send("a /pause")),
        ("   ", None),
        ("/pause", Do("pause")),
        (" /new-session ", Do("new-session")),
        ("/model", ShowModel()),
        ("/model opus", SetModel("opus")),
        ("/model --default", SetModel(None)),
        ("/quit", Detach()),
        ("/help", Explain()),
    ],
)
def test_a_line_is_a_message_unless_it_begins_with_a_slash(line: str, order: Order | None) -> None:
    assert order_of(line) == order


@pytest.mark.parametrize("line", ["/paus", "/pause now", "/model a b", "/", "/\x1b[2J"])
def test_what_is_no_order_is_explained_and_never_sent(line: str) -> None:
    order = order_of(line)
    assert isinstance(order, Explain)
    assert "/help" in order.lines[-1]

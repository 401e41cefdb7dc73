"""From the fields of a form to the input of an operation."""

from __future__ import annotations

import pytest

from api.operations.base import Input
from api.ui.forms import input_from
from meta.errors import BadInput


class Asked(Input):
    """An input with one text and several words."""

    text: str
    words: tuple[str, ...] = ()


def test_a_field_of_one_value_that_is_there_twice_is_refused() -> None:
    several = [("words", "a"), ("words", "b")]
    assert input_from(Asked, {}, [("text", "x"), *several]) == Asked(text="x", words=("a", "b"))
    with pytest.raises(BadInput, match="text is in the form twice"):
        input_from(Asked, {}, [("text", "x"), ("text", "y")])
    with pytest.raises(BadInput, match="text is in the form twice"):
        input_from(Asked, {"text": "of the path"}, [("text", "y")])

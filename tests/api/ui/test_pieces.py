"""Words of hive on a page."""

from __future__ import annotations

from api.ui.pieces import own_words


def test_a_command_in_words_of_hive_is_set_as_code_and_nothing_in_them_is_markup() -> None:
    said = own_words("see `hive diff <b> 1`, or <i>this</i>\u202e")
    assert said == "see <code>hive diff &lt;b&gt; 1</code>, or &lt;i&gt;this&lt;/i&gt;\\u202e"

"""The macro of a diff writes the structure of the visual standard, and no text of an agent becomes markup."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import api.ui
from api.ui.diff.edits import edit_diff
from api.ui.diff.patch import read_patch
from api.ui.diff.source import Source
from api.ui.diff.values import Patch
from api.ui.diff.view import diff_view, file_view
from meta.names import AgentName, Sha

PATCH = """\
diff --git a/agent.toml b/agent.toml
index 1111111..2222222 100644
--- a/agent.toml
+++ b/agent.toml
@@ -12,3 +12,3 @@ [limits]
 [model]
-name = "haiku"
+name = "opus"
 effort = "high"
"""
MINUS = "\N{MINUS SIGN}"
HOSTILE = "<script>alert(1)</script>\"'&{{ 1 }}\u202e"


@pytest.fixture(scope="module")
def macros() -> Environment:
    folder = Path(api.ui.__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(macros: Environment, files: object, layout: str = "inline") -> str:
    module = macros.get_template("parts/diff.html").make_module()
    return str(getattr(module, "diff_files")(files, layout))  # noqa: B009 (mypy knows no macros)


def test_a_diff_has_the_structure_of_the_visual_standard(macros: Environment) -> None:
    source = Source(AgentName("alice"), Sha("a" * 40), Sha("b" * 40), "p7")
    text = _render(macros, diff_view(read_patch(PATCH), "p7", source))
    assert '<section class="diff" id="p7-' in text
    assert '<header><code>agent.toml</code><span class="small"><span class="ok">+1</span>' in text
    assert '<div class="lines" tabindex="0" role="group" aria-label="Changed lines of agent.toml">' in text
    assert "<summary>11 unchanged lines</summary>" in text
    assert [line for line in text.splitlines() if line.startswith('<div class="ln')] == [
        '<div class="ln" data-o="12" data-n="12"><i> </i><span>[model]</span></div>',
        f'<div class="ln d" data-o="13" data-n=""><i>{MINUS}</i><span>name = &#34;<del>haiku</del>&#34;</span></div>',
        '<div class="ln a" data-o="" data-n="13"><i>+</i><span>name = &#34;<ins>opus</ins>&#34;</span></div>',
        '<div class="ln" data-o="14" data-n="14"><i> </i><span>effort = &#34;high&#34;</span></div>',
    ]


def test_side_by_side_what_is_the_same_is_twice_there_and_once_for_a_screen_reader(macros: Environment) -> None:
    text = _render(macros, diff_view(read_patch(PATCH), "p7"), "split")
    assert text.count("[model]") == 2
    assert text.count('aria-hidden="true"') == 2
    assert text.index("haiku") < text.index("opus")
    assert text.count('<div class="ln d l"') == text.count('<div class="ln a r"') == 1


def test_a_new_file_has_no_empty_column(macros: Environment) -> None:
    view = file_view(edit_diff("x", None, "a\n"), "k")
    assert _render(macros, [view], "split") == _render(macros, [view], "inline")


def test_no_text_of_an_agent_becomes_markup(macros: Environment) -> None:
    name = HOSTILE.replace("/", "")
    patch = read_patch(f"diff --git a/{name} b/{name}\nnew file mode 100644\n@@ -0,0 +1 @@\n+{HOSTILE}\n")
    files = [*diff_view(patch, "p7"), file_view(edit_diff(HOSTILE, HOSTILE, f"{HOSTILE} more"), "k")]
    for layout in ("inline", "split"):
        text = _render(macros, files, layout)
        assert "<script" not in text
        assert "\u202e" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;{{ 1 }}" in text


def test_a_fold_of_a_tools_call_has_its_lines_in_it(macros: Environment) -> None:
    text = "".join(f"line {number}\n" for number in range(600))
    rendered = _render(macros, diff_view(Patch((edit_diff("x", None, text),)), "c9"))
    assert rendered.count('<div class="ln a"') == 600
    assert rendered.count("<details") == 1


def test_a_fold_that_loads_has_a_link_without_javascript(macros: Environment) -> None:
    text = _render(macros, diff_view(read_patch(PATCH), "p7", Source(AgentName("a"), None, Sha("b" * 40), "p7")))
    href = text.partition('hx-get="')[2].partition('"')[0]
    assert f'<a href="{href}" hx-get=' in text
    assert href.startswith("/diff/lines?agent=a&amp;")

"""The templates: one environment, which escapes everything that a template does not mark itself."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from api.ui import numbers
from api.ui.pieces import own_words, prose
from api.ui.times import span, time_element, without_words
from api.words.users import with_names
from meta.text import show_invisible

HERE = Path(__file__).parent
CSRF = f"csrf-{secrets.token_hex(16)}"
"""Stands in shared texts for the token of whoever gets them. Nobody outside of this process knows it."""
WHO = f"who-{secrets.token_hex(16)}"
"""Stands in a whole page for the name of the person who gets it."""
_OWN = f"own-{secrets.token_hex(16)}"
"""Stands in shared texts, before the id of a session, for what only the browser of that session is told."""
_OF_SESSION = re.compile(rf"{_OWN}-(\w*)\[([^|\]]*)\|([^|\]]*)\]")
DIGEST = 12
"""Hex digits of a region's digest."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of one region, with the digest of what is news in it."""

    id: str
    text: str
    digest: str


class Templates:
    """The templates below `templates/` and of each page's folder, e.g. `agents/page.html`.

    `asset` returns the path of a file for browsers.
    """

    def __init__(self, asset: Callable[[str], str]) -> None:
        self._asset = asset

    def render(self, template: str, values: Mapping[str, object], now: float) -> str:
        """Return the text of a template. In it `time(at, form)` makes a time element."""
        return (
            _environment()
            .get_template(template)
            .render(
                {
                    **values,
                    "asset": self._asset,
                    "time": lambda at, form="age": time_element(at, now, form),
                    "now": now,
                }
            )
        )

    def region(self, id: str, template: str, values: Mapping[str, object], now: float) -> Rendered:
        """Return one region."""
        text = self.render(template, values, now)
        return Rendered(id, text, digest(text))


@cache
def _environment() -> Environment:
    """Return the environment. It holds no state of a dashboard, so all of a process share the compiled templates."""
    environment = Environment(
        loader=FileSystemLoader([HERE / "templates", HERE / "pages"]),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"csrf": CSRF, "who_looks": WHO, "own": own}
    environment.filters |= {
        "dollars": numbers.dollars,
        "count": numbers.count,
        "size": numbers.size,
        "percent": numbers.percent,
        "plural": numbers.plural,
        "revision": numbers.revision,
        "span": span,
        "visible": show_invisible,
        "prose": prose,
        "own_words": own_words,
        "person": with_names,
    }
    return environment


def _visible(value: object) -> object:
    """Show characters without ink in every text, whoever wrote it. `{{ text|e }}`: a form gives it back as it was."""
    return show_invisible(value) if type(value) is str else value


def digest(text: str) -> str:
    """Return the digest of a text without what is no news: the age of times, and stand-ins."""
    news = without_words(text).replace(CSRF, "").replace(_OWN, "")
    return hashlib.sha256(news.encode()).hexdigest()[:DIGEST]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who gets a text: the token of the login, its session's id ("" without one), and the person's name."""

    csrf: str
    session: str
    who: str = ""


def own(session: object, here: str, elsewhere: str = "") -> str:
    """Return what stands for words beside a session: its own browser reads `here`, others `elsewhere`.

    Both are words of hive without `|` and `]`.
    """
    return f"{_OWN}-{session}[{here}|{elsewhere}]"


def for_viewer(text: str, viewer: Viewer) -> str:
    """Return a shared text as one viewer gets it."""
    text = _OF_SESSION.sub(lambda found: found[2 if found[1] == viewer.session else 3], text)
    who = str(Markup.escape(show_invisible(viewer.who)))
    return text.replace(CSRF, str(Markup.escape(viewer.csrf))).replace(WHO, who)

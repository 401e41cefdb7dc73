"""The login page. It needs nothing but the stylesheet: it is shown to people who are not logged in."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def login_page(asked: str = "/", *, why: str = "", again: bool = False) -> str:
    """Return the page. After the login the browser goes to `asked`. `why`: what was wrong with the last attempt.

    `again`: a link of another site led here, so that the browser left out its cookie; it asks once more by itself.
    """
    return _template().render(asked=asked, why=why, again=again)


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("login.html")

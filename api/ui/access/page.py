"""The login page. It shows nothing of the hive but its name: it is for people who are not logged in."""

from __future__ import annotations

from dataclasses import dataclass

from api.ui.render import Templates


@dataclass(frozen=True, slots=True)
class LoginPage:
    """The login page of one dashboard. `name` is the hive's."""

    templates: Templates
    name: str

    def ask(self, asked: str, token: str, now: str, then: str) -> str:
        """Return the page that asks before the login of `now` is replaced by that of a link, which is `then`'s."""
        values = {"hive": self.name, "asked": asked, "token": token, "now": now, "then": then}
        return self.templates.render("login_twice.html", values, 0.0)

    def show(self, asked: str = "/", *, why: str = "", again: bool = False) -> str:
        """Return the page. After the login the browser goes to `asked`. `why`: what was wrong with the last attempt.

        `again`: a link of another site led here, so that the browser left out its cookie; it asks once more by itself.
        """
        return self.templates.render("login.html", {"hive": self.name, "asked": asked, "why": why, "again": again}, 0.0)

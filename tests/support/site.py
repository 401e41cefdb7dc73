"""A dashboard for tests: the origin of a hive's daemon, and a login by a one-time link, as an operator gets one."""

from __future__ import annotations

import contextlib
import http.client
import socket
from dataclasses import dataclass
from functools import cached_property

from api.ui.pages.registry import ROOMS
from tests.support.lab import Lab

NAME = "orchard"
"""The name of the hive in its pages."""


def page_paths(agent: str, deploy: tuple[str, int]) -> dict[str, str]:
    """Return the path of each page by its name: those of an agent for `agent`, that of a deploy for this one's."""
    paths = {page.name: page.path for room in ROOMS for page in room.pages}
    whose, id = deploy
    chosen = {name: path.replace("{agent}", whose if "{id}" in path else agent) for name, path in paths.items()}
    return {name: path.replace("{id}", str(id)) for name, path in chosen.items()}


def dashboard_settings() -> dict[str, str]:
    """Return the settings of a daemon with a dashboard, on a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return {"HIVE_DASHBOARD_PORT": str(sock.getsockname()[1]), "HIVE_DASHBOARD_NAME": NAME}


@dataclass
class Site:
    """The dashboard of a lab with `dashboard_settings`."""

    lab: Lab

    @property
    def port(self) -> int:
        """The port of the daemon's listener."""
        return int(self.lab.settings["HIVE_DASHBOARD_PORT"])

    @property
    def origin(self) -> str:
        """The one origin by which browsers reach it."""
        return f"http://localhost:{self.port}"

    def ready(self) -> None:
        """Wait until it answers."""
        self.lab.until(lambda: self._answers() or None)

    def link(self) -> str:
        """Return a one-time link, as `hive dashboard` prints it."""
        said = self.lab.hive("dashboard", "--no-open")
        assert said.code == 0, said.err
        return said.out.strip()

    @cached_property
    def cookie(self) -> tuple[str, str]:
        """The name and the value of the cookie of one login, without a browser. Every test may use it."""
        return self.log_in()

    def log_in(self) -> tuple[str, str]:
        """Log in by a link of its own, and return the cookie's name and value."""
        token = self.link().partition("#")[2]
        connection = http.client.HTTPConnection("localhost", self.port, timeout=10)
        headers = {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
        with contextlib.closing(connection):
            connection.request("POST", "/login", f"token={token}", headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 303, (answer.status, answer.reason)
            name, _, value = str(answer.getheader("Set-Cookie")).partition(";")[0].partition("=")
            return name, value

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", self.port), 1)):
            return True
        return False

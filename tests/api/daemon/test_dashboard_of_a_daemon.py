"""The dashboard of a real daemon: a busy port keeps it from nothing, and its end ends each stream without a trace."""

from __future__ import annotations

import json
import re
import socket
import time
from http.client import HTTPConnection, HTTPResponse

from tests.support.lab import Lab, fresh_lab

STREAMS = 20
FORM = "application/x-www-form-urlencoded"


class Browser:
    """A browser at `localhost`, with the cookie of its login."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""
        self._open: list[HTTPConnection] = []

    def ask(self, path: str, *, method: str = "GET", body: str | None = None) -> HTTPResponse:
        """Return the answer, unread. Each request has a connection of its own."""
        connection = HTTPConnection("localhost", self.port, timeout=20)
        self._open.append(connection)
        origin = {"Origin": f"http://localhost:{self.port}", "Content-Type": FORM} if body is not None else {}
        connection.request(method, path, body, {"Accept": "text/html", "Cookie": self.cookie, **origin})
        return connection.getresponse()

    def log_in(self, lab: Lab) -> None:
        """Use the link that `hive dashboard` prints."""
        link = lab.hive("dashboard", "--no-open").out.strip()
        answer = self.ask("/login", method="POST", body=f"token={link.partition('#')[2]}")
        assert answer.status == 303
        self.cookie = (answer.getheader("set-cookie") or "").partition(";")[0]

    def close(self) -> None:
        """End its connections."""
        for connection in self._open:
            connection.close()


def troubles(lab: Lab) -> list[str]:
    """Return the details of the rows about the dashboard."""
    rows = json.loads(lab.hive("attention", "--json").out)["rows"]
    return [row["detail"] for row in rows if row["kind"] == "dashboard" and "is in use" in row["detail"]]


def test_a_busy_port_keeps_the_daemon_from_nothing_and_its_end_ends_each_stream_without_a_trace() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        browser = Browser(port)
        with fresh_lab("dash", {"HIVE_DASHBOARD_PORT": str(port)}, backend="fake") as lab:
            lab.spawn("alice")
            (text,) = troubles(lab)
            assert f"port {port} is in use" in text
            assert f"http://localhost:{port}" in lab.hive("status").out
            other.close()
            deadline = time.monotonic() + 20
            while troubles(lab):
                assert time.monotonic() < deadline, lab.tail()
            browser.log_in(lab)
            page = browser.ask("/").read().decode()
            stream = re.search(r'data-stream="([^"]+)"', page)
            assert stream is not None, page
            streams = [browser.ask(stream[1]) for _ in range(STREAMS)]
            assert {each.status for each in streams} == {200}
            assert all(each.read(1) for each in streams)
            begun = time.monotonic()
            assert lab.stop() == 0
            assert time.monotonic() - begun < 5
            for each in streams:
                each.read()  # to its end, which is clean
            assert "Traceback" not in lab.log.read_text(encoding="utf-8")
        browser.close()

"""The story's chapter about the way out: bob may reach one host and not another, until the operator allows that too.

Both hosts are names for a server of the story's own on loopback, which network.toml opens for this hive. A tool in
bob's container asks for them: `hive shell bob -- curl http://docs.example/`.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from tests.e2e.words import WAIT, Story, check
from tests.support.upstream import Upstream

AGENT = "bob"
LISTED, WANTED = "docs.example", "packages.example"
CURL = ("curl", "-sS")
URLLIB = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
"""In place of curl where there is none."""


@contextlib.contextmanager
def hosts(story: Story) -> Iterator[int]:
    """Serve both names on loopback, and name them in network.toml; yield their port."""
    with Upstream() as upstream:
        listener = socket.create_server(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        upstream.http(listener, "a server")
        names = (LISTED, WANTED)
        text = f"private = {[f'{name}:{port}' for name in names]}\n[hosts]\n"
        text += "".join(f'"{name}" = "127.0.0.1"\n' for name in names)
        story.network(text)
        yield port


def way_out(story: Story, id: int, rules: str) -> None:
    """The chapter. `id` is that of the proposal with which bob may reach the first host; `rules` are his others."""
    if not story.has_the_hosts_agents:
        story.skip("the way out", "left out, it is told with the containers of this machine")
        return
    with hosts(story) as port:
        first, second = f"{LISTED}:{port}", f"{WANTED}:{port}"
        story.edit(f'{rules}\n[network]\nallow = ["{first}"]\n', AGENT)
        card = story.json("propose", AGENT)
        check(card["id"] == id, f"expected proposal {id}, got {card}")
        check(first in story.hive("diff", str(id)), "hive diff does not name the host that is new")
        deploy(story, id)
        answer = story.until("bob reaches the listed host", lambda: reached(story, first))
        story.say(f"bob may reach {LISTED}", f'approved as {id}; his curl asks, and "{answer}" answers')
        refused(story, second)
        for_a_time(story, second)
        for_good(story, second, id + 1)


def deploy(story: Story, id: int) -> None:
    story.hive("approve", str(id))
    card = story.ended(id)
    check(card["state"] == "deployed", f"{id} is {card['state']}: {card['note']}")
    story.healthy(AGENT)


def refused(story: Story, host: str) -> None:
    phrase = f"{host}-is-not-on-the-list-of-{AGENT}"
    seen = fetch(story, host)
    check(phrase in seen, f"bob was answered {seen!r}")
    row = story.until("the refusal in hive network", lambda: wanted(story, host))
    table = story.hive("network")
    check(host in table, f"hive network does not show what bob wanted: {table}")
    story.say(f"bob may not reach {WANTED}", f'he sees "{seen}"; `hive network` has it, {row["count"]} time')


def for_a_time(story: Story, host: str) -> None:
    story.hive("network", "allow", AGENT, host, "--for", "1h")
    answer = reached(story, host)  # at once: the rule is in force before the command returns
    check(answer is not None, f"bob may not reach {host} although it is allowed")
    check(host in story.hive("network", AGENT), "hive network bob does not show the rule")
    story.say(f"`hive network allow bob {WANTED} --for 1h`", f'"{answer}" answers him at once')


def for_good(story: Story, host: str, id: int) -> None:
    story.hive("network", "allow", AGENT, host, "--propose")
    check(f"{id} waits for approval" in story.hive("plan"), f"there is no proposal {id}")
    check(host in story.hive("diff", str(id)), "hive diff does not name the host that is new")
    deploy(story, id)
    story.hive("network", "revoke", AGENT, host)
    answer = story.until("bob reaches it without the hour", lambda: reached(story, host))
    story.say("the same with `--propose`", f'deployed/{id}, the hour revoked: "{answer}" answers him for good')


def reached(story: Story, host: str) -> str | None:
    """Return what a host answers bob; None if it does not."""
    seen = fetch(story, host)
    return seen if seen.startswith("a server") else None


def fetch(story: Story, host: str) -> str:
    """Return what a tool in bob's container prints that asks a host."""
    tool = CURL if shutil.which("curl") else (sys.executable, "-c", URLLIB)
    done = subprocess.run(
        [sys.executable, "-m", "api.cli.main", "shell", AGENT, "--", *tool, f"http://{host}/"],
        env=story.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    return (done.stdout or done.stderr).strip()


def wanted(story: Story, host: str) -> dict[str, Any] | None:
    """Return the row of a refused host in `hive network bob`, once it is there."""
    rows = story.json("network", AGENT)["refused"]
    return next((dict(row) for row in rows if f"{row['host']}:{row['port']}" == host), None)

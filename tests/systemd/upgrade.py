"""A switch of the host to another hive while agents are in mid-turn: `python -m tests.systemd.upgrade COUNT`.

Inside of a systemd host with builder `nix`. What a switch does to hive's units is done to them: a reload of systemd
and a restart of all at once; and, as for a new systemd, its start anew. Meanwhile messages come in without a pause.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from meta.names import AgentName
from reconciler.privileged import conf
from reconciler.privileged.values import Bounds
from tests.e2e.story import check
from tests.support.systemd import host
from tests.systemd.busy import TURN, Busy, Watch
from tests.systemd.nixstory import ETC, UNIT, run

UNITS = ("hive-privileged.socket", "hive-privileged.service", "hive-egress.service", UNIT)
HARM = frozenset(
    (
        *("container_crash", "agent_restarted", "agent_stopped", "agent_unhealthy", "turn_killed", "turn_stuck"),
        *("message_dead", "reconcile_error", "daemon_failed"),
    )
)
"""What no switch may cause."""


def switch(story: Busy, watch: Watch) -> float:
    """What a switch of the host does to services, in the middle of a turn. Seconds of `systemctl restart`."""
    old = story.main_pid
    story.begin_turns()
    began = time.monotonic()
    run("systemctl", "restart", *UNITS)
    took = time.monotonic() - began
    check(story.main_pid not in (0, old), "the daemon is the old one")
    accepted = watch.accepted
    story.settled("a message after the switch", lambda: watch.accepted > accepted)
    return took


def tell(story: Busy) -> None:
    """The whole story; raises Unexpected."""
    story.start()
    story.healthy("manager")
    story.spawn()
    older = older_conf(story.names[0])
    in_mid_turn(story)
    check(conf_of(story.names[0]) == older, "the new daemon changed the conf of a container that runs")
    if len(story.names) > 2:
        without_a_daemon(story)
        story.hive("rebuild", story.names[0], "--wait")
        check("--inaccessible=" in conf_of(story.names[0]), "a rebuild left the conf of the older hive")


def without_a_daemon(story: Busy) -> None:
    """Turns end and begin while there is no daemon, as in a switch that takes long."""
    told, pids = story.inbox(), story.pids()
    story.begin_turns()
    run("systemctl", "stop", *UNITS)
    time.sleep(TURN + 1)
    story.start()
    expected = Counter((name, f"{word} 1") for name in story.names for word in ("begun", "worked"))
    story.settled("every answer", lambda: (story.inbox() - told).total() >= expected.total())
    came = story.inbox() - told
    check(came == expected, f"messages: missing {expected - came}, too many {came - expected}")
    check(story.pids() == pids, "an agent is another process")
    story.say("turns end while there is no daemon", "what they send comes with the next one, once")


def conf_of(name: str) -> str:
    """The conf file of a container."""
    return (ETC / f"{name}.conf").read_text(encoding="utf-8")


def older_conf(name: str) -> str:
    """Give a container that runs the conf file of a hive that hid nothing of nix."""
    written = conf.read_back(conf_of(name), Bounds())
    assert written.owner is not None
    assert written.settings is not None
    places = conf.Places(str(host.HOME / "state"), "/run/hyperhive")
    hidden = conf.HIDDEN
    try:
        setattr(conf, "HIDDEN", ())  # noqa: B010 - a stand-in
        text = conf.render(AgentName(name), conf.Conf(written.owner, written.settings, written.system), places)
    finally:
        setattr(conf, "HIDDEN", hidden)  # noqa: B010
    assert "--inaccessible=" not in text
    (ETC / f"{name}.conf").write_text(text, encoding="utf-8")
    return text


def in_mid_turn(story: Busy) -> None:
    """Switch in the middle of everything, and count what came of it."""
    told, pids = story.inbox(), story.pids()
    first, last = leaders(pids), len(story.events())
    id = story.begin_build()
    run("systemctl", "daemon-reexec")
    run("systemctl", "daemon-reload")
    with Watch(story) as seen:
        took = switch(story, seen)
    expected = Counter((name, f"{word} 1") for name in story.names for word in ("begun", "worked"))
    expected.update((story.names[n % len(story.names)], f"noted {n}") for n in range(seen.accepted))
    story.settled("every answer", lambda: (story.inbox() - told).total() >= expected.total())
    came = story.inbox() - told
    check(came == expected, f"messages: missing {expected - came}, too many {came - expected}")
    check(story.pids() == pids and leaders(pids) == first, "an agent is another process")
    story.settled("the deploy", lambda: story.card("alice", id)["state"] not in ("approved", "building"))
    check(story.card("alice", id)["state"] == "deployed", f"{story.card('alice', id)}")
    harm = [event for event in story.events()[last:] if event["kind"] in HARM and event["agent"] != "alice"]
    check(not harm, f"{harm}")
    story.say("a switch", f"restart {took:.2f} s, without a daemon {seen.longest:.2f} s")
    story.say(
        f"{len(story.names)} agents in mid-turn, a build under way",
        f"turns killed 0, messages lost 0 of {expected.total()}, deployed/{id}",
    )


def leaders(pids: dict[str, int]) -> dict[str, str]:
    """The first process of each container, with the time of its start."""
    found = {}
    for name, pid in pids.items():
        child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        found[name] = f"{child} {Path(f'/proc/{child}/stat').read_text().rpartition(')')[2].split()[19]}"
    return found


def main() -> int:
    """Tell it."""
    with tempfile.TemporaryDirectory() as folder:
        story = Busy(Path(folder), int(sys.argv[1]))
        tell(story)
        run("systemctl", "stop", UNIT)
    return 0


if __name__ == "__main__":
    sys.exit(main())

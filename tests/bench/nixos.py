"""Backend `nixos` with builder `nix` on a systemd host made for it: a deploy by its parts, twenty agents at once.

`python -m tests.bench.nixos` runs inside of that host and prints what it timed. The floor of a deploy is the
bare commands (nix flake lock, an evaluation, nix-store --realise, nix-env --set, systemctl stop and start) for a
container with the same kind of system and settings, in turn with hive's; of twenty agents, one `systemctl start` of
their units.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from api.cli.client.http import Client
from api.cli.client.paths import Where
from meta.desired.flake import render
from meta.model import AgentEntry, ContainerSettings, Desired, Pin, Role
from meta.names import AgentName, ProposalId, Sha
from meta.nix import NIX_CONFIG
from tests.bench.figure import Figure, figure
from tests.bench.inside import booted, measured
from tests.e2e.story import SETTINGS
from tests.nix.evaluate import STUB
from tests.support.systemd import host, nixhost
from tests.systemd.nixstory import ETC, NIX, PROFILES, NixStory, run

RUNS = 7
AGENTS = 20
SWARMS = 3
SECONDS = 280.0
BARE = AgentName("bare")
UID_BASE = 1_310_720_000
TIMED: dict[str, str | float] = {
    **{key.removeprefix("HIVE_").lower(): float(value) for key, value in SETTINGS.items()},
    "health_stable": 0,
    "health_deadline": 60,
    "resync": 600,
    "starts": AGENTS,
}
PARTS = {
    "lock": ("candidate",),
    "eval and build": ("build",),
    "drain": ("drain",),
    "stop": ("stop",),
    "set": ("switch",),
    "boot and hello": ("start",),
}
"""What each is in hive's own words; the wait for the hello follows the start."""

EARLY = "systemctl returns while the harnesses still start; hive's containers compete with those that came before."
MANY = "Not taken apart: each start is four calls of the helper, eight at a time, beside what the containers need."
WHY = (
    "Of what is more, about 60 ms are the parse of agent.nix and the jail around nix, the rest four calls of the "
    "helper, the health gate's probe, and what is on disk before the next step."
)


def measure() -> Iterator[Figure]:
    """Nothing where there can be no such host."""
    with booted(TIMED) as made:
        if made is None:
            return
        timed = measured(made, "tests.bench.nixos", "deploys", seconds=SECONDS)
        yield from _deploys(timed["hive"], timed["bare"])
        timed = measured(made, "tests.bench.nixos", "swarm", seconds=SECONDS)
    yield figure(f"{AGENTS} agents up", "ms", timed["up"], floor=timed["bare up"], why=EARLY)
    yield figure(
        f"{AGENTS} agents healthy", "ms", timed["healthy"], floor=timed["bare hello"], ratio_at_most=1.2, why=MANY
    )


def _deploys(hive: dict[str, list[float]], bare: dict[str, list[float]]) -> Iterator[Figure]:
    yield figure("approve to healthy, nixos", "ms", hive["all"], floor=bare["all"], ratio_at_most=1.1, why=WHY)
    for part in PARTS:
        yield figure(f"  its {part}", "ms", hive[part], floor=bare.get(part, ()))
    yield figure("  what is left", "ms", hive["rest"])


# inside of the host
class Hive(NixStory):
    """The daemon's side."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, out=lambda line: None)
        self.client = Client(Where(self.state, self.runtime))

    def deploy(self, number: int) -> dict[str, float]:
        """Milliseconds from the approval to the tag, and of the steps, by the log's own times."""
        self.commit("agent.nix", NIX.format(f"networking.firewall.allowedTCPPorts = [ {9000 + number} ];"))
        card = self.json("propose", "alice")
        self.evaluated(card["id"])
        with self.client.events() as stream:
            since, began = time.time(), time.perf_counter()
            self.client.post(f"/api/proposals/{card['id']}/approve")
            while True:
                event = stream.next(30)
                assert event is not None and event.kind != "deploy_failed"
                if event.kind == "deploy_succeeded":
                    break
        whole = (time.perf_counter() - began) * 1000
        self.healthy("alice")
        steps = self._steps(since, since + whole / 1000)
        found = {part: sum(steps.get(step, 0.0) for step in names) for part, names in PARTS.items()}
        return {"all": whole, **found, "rest": whole - sum(found.values())}

    def all(self, verb: str, names: list[str], phase: str, **body: object) -> None:
        """Ask for all at once, and wait until each is in `phase`."""
        for name in names:
            self.client.post(f"/api/agents/{name}/{verb}", body)
        deadline = time.monotonic() + 60
        while any(row["phase"] != phase for row in self.client.row("/api/status")["agents"] if row["agent"] in names):
            assert time.monotonic() < deadline, self.tail()
            time.sleep(0.1)  # looking costs the daemon, too

    def _steps(self, since: float, until: float) -> dict[str, float]:
        """Each step lasts until the log names the next one."""
        words = ("journalctl", "--output=json", f"--since=@{since:.6f}", "--unit=hive.service")
        named: list[tuple[float, str]] = []
        for line in run(*words).splitlines():
            entry = json.loads(line)
            text = str(entry["MESSAGE"])
            if "reconciler.loop.loop: alice: " in text and ", because" in text:
                step = text.partition("alice: ")[2].partition(",")[0]
                named.append((int(entry["__REALTIME_TIMESTAMP"]) / 1e6, step))
        ends = [at for at, _ in named[1:]] + [until]
        steps: dict[str, float] = {}
        for (at, step), end in zip(named, ends, strict=True):
            steps[step] = steps.get(step, 0.0) + (end - at) * 1000
        return steps


class Bare:
    """The same by hand: a container whose system comes from a flake like hive's, with one agent."""

    def __init__(self, directory: Path) -> None:
        self.folder, self.repo, self.flake = directory, directory / "repo", directory / "flake"
        self.socket = socket.socket(socket.AF_UNIX)
        self.connection: socket.socket | None = None
        for name in ("state", "home", "run", "flake", "cache"):
            (directory / name).mkdir()
            os.chown(directory / name, UID_BASE, UID_BASE)
        git(directory, "init", "--quiet", "-b", "main", str(self.repo))
        self.socket.bind(str(directory / "run" / "harness.sock"))
        os.chown(directory / "run" / "harness.sock", UID_BASE, UID_BASE)
        (directory / "run" / "harness.sock").chmod(0o660)
        self.socket.listen()
        self.socket.settimeout(30)
        (directory / "run" / "launch.env").write_text("HIVE_GENERATION=g\nHIVE_BOOT_NONCE=n\n", encoding="utf-8")

    def deploy(self, number: int) -> dict[str, float]:
        """Milliseconds of each command, in the order of hive's steps."""
        line = f"networking.firewall.allowedTCPPorts = [ {9000 + number} ];"
        (self.repo / "agent.nix").write_text(NIX.format(line), encoding="utf-8")
        (self.repo / "agent.toml").write_text("", encoding="utf-8")
        git(self.repo, "add", ".")
        git(self.repo, "commit", "--quiet", "-m", str(number))
        git(self.repo, "tag", f"proposal/{number + 1}")
        pin = Pin(ProposalId(number + 1), Sha(git(self.repo, "rev-parse", "HEAD")))
        entry = AgentEntry(pin, ContainerSettings(Role.AGENT, UID_BASE))
        flake = render(
            Desired(Sha("0" * 40), {BARE: entry}), lambda _: self.repo / ".git", f"path:{STUB}", f"path:{nixhost.HIVE}"
        )
        (self.flake / "flake.nix").write_bytes(flake)
        times = [time.perf_counter()]
        self._nix("nix", "flake", "lock", f"path:{self.flake}")
        times.append(time.perf_counter())
        attribute = f"path:{self.flake}#nixosConfigurations.{BARE}.config.system.build.toplevel"
        derivation = self._nix("nix", "path-info", "--derivation", attribute)
        system = self._nix("nix-store", "--realise", derivation, "--add-root", str(self.folder / f"root{number}"))
        times.append(time.perf_counter())
        if self.connection is not None:
            run("systemctl", "stop", f"container@{BARE}")
            self.connection.close()
        times.append(time.perf_counter())
        (PROFILES / BARE).mkdir(exist_ok=True)
        self._nix("nix-env", "-p", str(PROFILES / BARE / "system"), "--set", system)
        self._write_conf(str(Path(system).resolve()))
        times.append(time.perf_counter())
        run("systemctl", "start", f"container@{BARE}")
        self.connection, _ = self.socket.accept()  # kept: a harness whose link ends comes again at once
        self.connection.settimeout(30)
        self.connection.makefile("rb").readline()
        times.append(time.perf_counter())
        parts = ("lock", "eval and build", "stop", "set", "boot and hello")
        found = {part: (end - begin) * 1000 for part, begin, end in zip(parts, times, times[1:], strict=False)}
        return {"all": sum(found.values()), **found}

    def _nix(self, *words: str) -> str:
        env = {**os.environ, "NIX_CONFIG": NIX_CONFIG, "NIX_REMOTE": "daemon", "HOME": str(self.folder / "cache")}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _write_conf(self, system: str) -> None:
        binds = (("state", "/state"), ("home", "/home/agent"), ("run", "/run/hive"))
        flags = [f"--private-users={UID_BASE}:65536", "--private-users-ownership=auto"]
        flags += [f"--bind={self.folder / name}:{inside}" for name, inside in binds]
        lines = ["PRIVATE_NETWORK=1", f"SYSTEM_PATH={system}", f'EXTRA_NSPAWN_FLAGS="{" ".join(flags)}"', ""]
        (ETC / f"{BARE}.conf").write_text("\n".join(lines), encoding="utf-8")


def git(repo: Path, *words: str) -> str:
    """A bare git command."""
    return run("git", "-c", "user.name=b", "-c", "user.email=b@b", "-C", str(repo), *words)


def swarm(story: Hive) -> dict[str, list[float]]:
    """AGENTS agents, all at the same time: hive's starts to the last container and to the last harness, bare starts."""
    names = [f"a{number}" for number in range(AGENTS)]
    units = [f"container@{name}" for name in names]
    for name in names:
        story.hive("spawn", name)
        story.healthy(name)
    timed: dict[str, list[float]] = {"up": [], "healthy": [], "bare up": [], "bare hello": []}
    for _ in range(SWARMS):
        story.all("stop", names, "stopped", now=True)
        began, wall = time.perf_counter(), time.monotonic()
        story.all("start", names, "running")
        timed["healthy"].append((time.perf_counter() - began) * 1000)
        shown = run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", *units)
        timed["up"].append((max(int(line) for line in shown.split()) / 1e6 - wall) * 1000)
        story.all("stop", names, "stopped", now=True)
        run("systemctl", "stop", "hive")
        up, hello = bare_starts([story.runtime / "agents" / name / "harness.sock" for name in names], units)
        timed["bare up"].append(up)
        timed["bare hello"].append(hello)
        story.start()
    return timed


def bare_starts(places: list[Path], units: list[str]) -> tuple[float, float]:
    """Milliseconds until `systemctl start` of all returns, and until each harness has said hello to us."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for place in places:
            place.unlink(missing_ok=True)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(place))
            place.chmod(0o666)
            listener.listen()
            waiting.register(listener, selectors.EVENT_READ)
        began = time.perf_counter()
        run("systemctl", "start", *units)
        up = time.perf_counter() - began
        while waiting.get_map():
            for key, _ in waiting.select(30):
                assert isinstance(key.fileobj, socket.socket)
                stack.enter_context(key.fileobj.accept()[0])
                waiting.unregister(key.fileobj)
        hello = time.perf_counter() - began
        run("systemctl", "stop", *units)
    for place in places:
        place.unlink()
    return up * 1000, hello * 1000


def deploys(story: Hive, bare: Bare) -> dict[str, dict[str, list[float]]]:
    """In turn; the first of each fills caches and does not count."""
    story.hive("spawn", "alice")
    story.healthy("alice")
    both: dict[str, list[dict[str, float]]] = {"hive": [], "bare": []}
    for number in range(RUNS + 1):
        both["hive"].append(story.deploy(number))
        both["bare"].append(bare.deploy(number))
    run("systemctl", "stop", f"container@{BARE}")
    story.hive("stop", "alice", "--now", "--wait")
    return {side: {part: [each[part] for each in runs[1:]] for part in runs[0]} for side, runs in both.items()}


def inside(what: str) -> object:
    """On the host."""
    with tempfile.TemporaryDirectory(dir=host.HOME) as name:
        folder = Path(name)
        folder.chmod(0o755)
        story = Hive(folder)
        story.start()
        story.healthy("manager")
        return deploys(story, Bare(folder)) if what == "deploys" else swarm(story)


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(inside(sys.argv[1]))}\n")

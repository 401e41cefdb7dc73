"""Programs run in a container by the container's own systemd: as the user that the harness has there, or as its root.

So they have what the container's processes have: its namespaces, control group, system call filter and capabilities.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from meta.model import ContainerSettings, Generation, Limits, Role
from meta.names import MANAGER, AgentName
from reconciler.privileged.values import HARNESS_UID
from tests.contract.conftest import SCRIPT
from tests.systemd.inside.conftest import UID_BASES, NixosHost

User = Literal["agent", "root", "harness", "cli"]
"""`agent` is harness and coding agent with one uid; `harness` and `cli` are these with two (harness/owners.py)."""
USERS: tuple[User, ...] = ("agent", "root")
HARNESS_APART = 60600
GROUP = 100
SECONDS = 20.0

# What nix/modules/agent and nix/templates/manager.nix make of a container, and a bus for systemd-run.
FURNISH = f"""
cat >/etc/passwd <<end
root:x:0:0::/root:/bin/sh
messagebus:x:90:90::/:/bin/false
agent:x:{HARNESS_UID}:{GROUP}::/home/agent:/bin/sh
nobody:x:65534:65534::/:/bin/false
end
printf 'root:x:0:\\nmessagebus:x:90:\\nusers:x:{GROUP}:\\nnogroup:x:65534:\\n' >/etc/group
printf '[safe]\\n\\tdirectory = *\\n' >/etc/gitconfig
chown agent:users /state /home/agent
[ -L /var/run ] || ln -s ../run /var/run
systemctl start dbus.service
"""


def _user(uid: int, gid: int, more: int | str) -> tuple[str, ...]:
    """Options of systemd-run for a user, with one more group."""
    ids = (f"--uid={uid}", f"--gid={gid}", f"--property=SupplementaryGroups={more}")
    return (*ids, "--property=NoNewPrivileges=yes", "--property=UMask=0077", "--setenv=HOME=/home/agent")


_OPTIONS: dict[User, tuple[str, ...]] = {
    "agent": _user(HARNESS_UID, GROUP, "root"),
    "root": (),
    "harness": _user(HARNESS_APART, HARNESS_APART, "root"),
    "cli": _user(HARNESS_UID, GROUP, "hive-cli"),
}


@dataclass(frozen=True, slots=True)
class Inside:
    """A running container of `host` that programs can be run in."""

    host: NixosHost
    agent: AgentName

    def run(self, *argv: str, user: User = "agent", more: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run to the end; stderr is in stdout. `more` are options of systemd-run."""
        words = ["systemd-run", "-M", self.agent, "--wait", "--pipe", "--quiet", "--collect"]
        return subprocess.run(
            [*words, *_OPTIONS[user], *more, "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )

    def text(self, *argv: str, user: User = "agent", more: Sequence[str] = ()) -> str:
        """The output of what must not fail."""
        done = self.run(*argv, user=user, more=more)
        assert done.returncode == 0, (done.returncode, done.stdout)
        return done.stdout

    def python(self, code: str, *words: str, user: User = "agent") -> str:
        """The output of a Python program that must not fail; `words` are its arguments."""
        return self.text("/usr/bin/python3", "-I", "-S", "-c", code, *words, user=user)


async def enter(host: NixosHost, agent: AgentName, more: Sequence[str] = ()) -> Inside:
    """Bring `agent` up; `more` are shell commands for its root before that."""
    host.script = "\n".join((FURNISH, *more, SCRIPT))
    role = Role.MANAGER if agent == MANAGER else Role.AGENT
    settings = ContainerSettings(role, UID_BASES[agent], Limits(memory_mib=512, pids=64))
    made = host.generation(agent)
    generation = Generation(made.id, agent, made.sha, made.system, settings.fingerprint(), made.revision)
    await host.backend.create(agent, settings)
    await host.backend.set_system(agent, generation)
    await host.backend.write_settings(agent, settings)
    await host.backend.start(agent, host.launch(generation))
    await host.until_up(agent)
    return Inside(host, agent)

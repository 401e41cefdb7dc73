"""nix inside of a container, through a daemon of its own (`hive.agent.nix.enable`), with this machine's real nix."""

from __future__ import annotations

from pathlib import Path

from tests.nix.evaluate import ROOT
from tests.systemd.inside.attempts import snapshot
from tests.systemd.inside.conftest import NixosHost
from tests.systemd.inside.entered import Inside, enter
from tests.systemd.inside.surroundings import ALICE
from tests.systemd.inside.test_escape_nix import DAEMON, nix_of_the_host

SCRIPT = (ROOT / "nix/modules/agent/own-nix.sh").read_text(encoding="utf-8")
OWN = "/run/own-nix"
"""In memory: the container's disk lies on an overlay here, which no other overlay takes as its layer."""

CONF = "sandbox = false\nbuild-users-group =\nsubstituters =\nexperimental-features = nix-command\n"
SERVE = f"--socket-property=ListenStream={DAEMON} --setenv=NIX_CONF_DIR=/run/nix /usr/bin/nix-daemon --daemon"
BUILD = """derivation {{ name = "made"; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "echo {} > $out" ]; }}"""
FETCH = """derivation { name = "fetched"; system = "builtin"; builder = "builtin:fetchurl"; outputHashMode = "flat";
  outputHashAlgo = "sha256"; outputHash = "%s"; url = "http://127.0.0.1:%d/x"; executable = false; unpack = false; }"""


def build(alice: Inside, expression: str) -> tuple[int, str]:
    words = ("NIX_REMOTE=daemon", "NIX_CONF_DIR=/run/nix", "/usr/bin/nix-build", "--no-out-link", "--expr", expression)
    done = alice.run("/usr/bin/env", *words)
    return done.returncode, done.stdout.strip()


async def test_an_agent_builds_with_a_daemon_of_its_own_and_nothing_of_it_is_on_the_host(
    nixos_host: NixosHost,
) -> None:
    alice = await enter(nixos_host, ALICE)
    alice.text("/bin/sh", "-c", f"groupadd nixbld; {SCRIPT}", "own-nix.sh", OWN, user="root")
    start = f"mkdir -p /run/nix; printf '{CONF}' >/run/nix/nix.conf; systemd-run --quiet {SERVE}"
    alice.text("/bin/sh", "-c", start, user="root")
    with nix_of_the_host() as seen:
        before = [snapshot(Path(top)) for top in ("/nix/store", "/nix/var/nix") if Path(top).is_dir()]
        code, path = build(alice, BUILD.format("by the agent"))
        assert code == 0, path
        assert alice.text("/bin/cat", path.splitlines()[-1]) == "by the agent\n"
        code, text = build(alice, FETCH % ("0" * 64, seen.port))
        assert code != 0
        assert seen.peers == [], text
        assert not Path(path.splitlines()[-1]).exists()
        assert [snapshot(Path(top)) for top in ("/nix/store", "/nix/var/nix") if Path(top).is_dir()] == before

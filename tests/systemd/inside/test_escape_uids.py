"""The user of a coding agent in a container: it reaches no socket and nothing that its harness keeps.

The units of nix/modules/agent/starter.nix are tried in tests/systemd/test_two_uids.py; this is about users and files.
"""

from __future__ import annotations

from pathlib import Path

from harness import owners
from tests.systemd.inside.attempts import inside, outside, succeeded
from tests.systemd.inside.conftest import UID_BASES, NixosHost
from tests.systemd.inside.entered import HARNESS_APART, enter
from tests.systemd.inside.surroundings import ALICE, BOB, listening
from tests.systemd.inside.test_escape import CONNECT

SOCKETS = ("/run/hive/mcp.sock", "/run/hive/harness.sock")
DIVIDE = f"""
printf 'hive-harness:x:{HARNESS_APART}:{HARNESS_APART}::/:/bin/false\\n' >>/etc/passwd
printf 'hive-cli:x:{HARNESS_APART}:\\n' >>/etc/group
echo opus >/state/hyperhive-model
chown agent:users /state/hyperhive-model
PYTHONPATH="$(dirname "$0")" python3 -S -c 'import owners, sys; sys.exit(owners.main(sys.argv[1:]))' \\
  /state hive-harness agent hive-cli
"""
CHANGE = """
kept = "/state/.hive/hyperhive-model"
attempt("read", open, kept)
attempt("write", write, kept)
attempt("remove", os.unlink, kept)
attempt("list", os.listdir, "/state/.hive")
attempt("open up", os.chmod, "/state/.hive", 0o777)
attempt("rename", os.rename, "/state/.hive", "/state/mine")
attempt("hand over", os.chown, "/state/.hive", os.getuid(), -1)
attempt("mode of /state", os.chmod, "/state", 0o777)
"""
OWN = """
attempt("notes", write, "/state/notes.md")
attempt("work", write, "/state/work/code")
attempt("home", write, "/home/agent/.login")
attempt("remove", os.unlink, "/state/notes.md")
"""

SERVE = """
def serve():
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("/run/pods/pod.sock")
    os.chmod("/run/pods/pod.sock", 0o666)
attempt("make", serve)
attempt("open up", os.chmod, "/run/pods", 0o777)
attempt("hand over", os.chown, "/run/pods", os.getuid(), -1)
attempt("list", os.listdir, "/run/pods")
attempt("remove", os.unlink, "/run/pods/pod.sock")
"""
CALL = """
with socket.socket(socket.AF_UNIX) as client:
    attempt("call", client.connect, words[0])
"""


async def test_a_coding_agents_user_reaches_no_socket_and_nothing_that_its_harness_keeps(nixos_host: NixosHost) -> None:
    nixos_host.files["owners.py"] = Path(owners.__file__).read_text(encoding="utf-8")
    alice, base = await enter(nixos_host, ALICE, [DIVIDE]), UID_BASES[ALICE]
    await nixos_host.backend.create(BOB, nixos_host.settings(BOB))  # `listening` listens there too
    state = nixos_host.layout.agent_state(ALICE)
    kept = state / owners.OWN / "hyperhive-model"
    assert (kept.read_text(), kept.stat().st_uid) == ("opus\n", base + HARNESS_APART)
    with listening(nixos_host.layout):
        assert succeeded(inside(alice, "harness", CONNECT, *SOCKETS)) == list(SOCKETS)
        assert set(inside(alice, "cli", CONNECT, *SOCKETS).values()) == {"EACCES"}
    assert set(inside(alice, "cli", CHANGE).values()) <= {"EACCES", "EPERM"}
    assert succeeded(inside(alice, "harness", CHANGE))[:2] == ["read", "write"]
    assert succeeded(inside(alice, "cli", OWN)) == ["notes", "work", "home", "remove"]


async def test_only_the_harness_makes_sockets_of_pods_and_only_hive_calls_them(nixos_host: NixosHost) -> None:
    nixos_host.files["owners.py"] = Path(owners.__file__).read_text(encoding="utf-8")
    alice = await enter(nixos_host, ALICE, [DIVIDE])
    path = str(nixos_host.layout.pods(ALICE) / "pod.sock")
    for user in ("agent", "harness"):  # a harness has the one uid or the other
        made = inside(alice, user, SERVE)
        assert succeeded(made) == ["make", "list", "remove"], made
    assert succeeded(inside(alice, "harness", SERVE.partition('attempt("open up')[0])) == ["make"]
    # nobody listens any more: who is refused there may connect
    assert outside(CALL, path)["call"] == "ECONNREFUSED"
    assert inside(alice, "harness", CALL, "/run/pods/pod.sock")["call"] == "ECONNREFUSED"
    assert inside(alice, "cli", CALL, "/run/pods/pod.sock")["call"] == "EACCES"
    assert set(inside(alice, "cli", SERVE).values()) <= {"EACCES", "EPERM"}

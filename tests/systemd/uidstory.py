"""A coding agent in its container on a real systemd: the CLI has another uid than its harness. Run inside of the host.

The CLI is a program that speaks no protocol: it writes what it could do, leaves a process behind that left its group,
its session and its parent, and ends.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e import story as e2e
from tests.e2e.story import check
from tests.support.systemd import nixhost
from tests.systemd.nixstory import NixStory, harness, perform

PROBE = r"""
import ctypes, errno, json, os, socket, sys, time
said = {}

def attempt(name, call, *arguments):
    try:
        said[name] = call(*arguments) or "done"
    except OSError as error:
        said[name] = errno.errorcode.get(error.errno, str(error))

def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b'{"kind":"hello"}\n')

def write(path, how="a"):
    with open(path, how) as file:
        file.write("x")

def read(path):
    with open(path, "rb") as file:
        return len(file.read())

def trace(pid):
    if ctypes.CDLL(None, use_errno=True).ptrace(16, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")

def commands():
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            yield int(pid), open(f"/proc/{pid}/cmdline", "rb").read().decode().split("\0")
        except OSError:
            pass

said["ids"] = [os.getuid(), os.getgid(), sorted(os.getgroups())]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
said["unprivileged"] = [status["CapEff"].strip(), status["NoNewPrivs"].strip()]
for path in ("/run/hive/mcp.sock", "/run/hive/harness.sock", "/run/hive/http.sock", "/run/hive-starter/starter.sock"):
    attempt(path, connect, path)
for path in ("/run/hive", "/run/pods", "/run/egress", "/run/hive-starter", "/state/.hive"):
    attempt(f"list {path}", os.listdir, path)
for path in ("/state/.hive/hyperhive-model", "/state/.hive/hyperhive-events.sqlite"):
    attempt(f"write {path}", write, path)
attempt("rename /state/.hive", os.rename, "/state/.hive", "/state/mine")
attempt("own /state", os.chmod, "/state", 0o777)
serving = next(pid for pid, words in commands() if words[-2:-1] == ["serve"])
starting = next(pid for pid, words in commands() if words[-2:-1] == ["cli"])
for name, pid in (("harness", serving), ("starter", starting)):
    attempt(f"trace the {name}", trace, pid)
    attempt(f"read the memory of the {name}", read, f"/proc/{pid}/mem")
    attempt(f"list the descriptors of the {name}", os.listdir, f"/proc/{pid}/fd")
attempt("end the harness", os.kill, serving, 15)
# what it may
for path in ("/state/notes.md", "/state/work/code", os.path.expanduser("~/.login"), "/dev/stderr"):
    attempt(f"write {path.replace(os.path.expanduser('~'), '~')}", write, path, "w")
attempt("replace /state/notes.md", os.replace, "/state/work/code", "/state/notes.md")
files = os.listdir("/run/hive-cli")
attempt("read what is for it", lambda: [os.listdir(f"/run/hive-cli/{name}") for name in files] and None)
attempt("write what is for it", write, f"/run/hive-cli/{files[0]}/planted")
said["credentials"] = os.environ.get("CREDENTIALS_DIRECTORY", "")
said["cwd"] = os.getcwd()

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        os.execve("/bin/sleep", ["sleep", "86399"], {})
    os._exit(0)
os.wait()
while not (left := [pid for pid, words in commands() if words[:2] == ["sleep", "86399"]]):
    time.sleep(0.01)
said["left"] = len(left)
with open("/state/work/said.new", "w") as file:
    json.dump(said, file)
os.rename("/state/work/said.new", "/state/work/said.json")
"""
PROGRAM = nixhost.PYTHON / "probe.py"
"""A path in the host and its containers, which have its /usr."""
TOML = f"""runtime = "acp"
command = ["/usr/bin/python3", "-I", "-S", "{PROGRAM}"]
"""


def main() -> int:
    """Play it; print what went wrong."""
    with tempfile.TemporaryDirectory() as name:
        story = NixStory(Path(name), out=print)
        return perform(story, partial(e2e.first_chapter, story), partial(play, story))


def play(story: NixStory) -> None:
    """From a script, whose state is an older one, to a coding agent, and back."""
    state = story.state / "agents/alice/state"
    base = state.stat().st_uid - 1000
    model = state / "hyperhive-model"
    model.write_text("forged\n")
    os.chown(model, base + 1000, base + 100)

    PROGRAM.write_text(PROBE, encoding="utf-8")
    story.propose(1, TOML)
    story.hive("approve", "1")
    check(story.ended(1)["state"] == "deployed", f"1 ended {story.ended(1)}")
    serving = harness(story.healthy("alice")["pid"])
    check(owner(Path(f"/proc/{serving}")) == base + 60600, "the harness has not its own uid")
    story.say("a coding agent's harness has its own uid", str(owner(Path(f"/proc/{serving}")) - base))

    story.hive("send", "alice", "go")
    said = story.until("the CLI says what it could do", lambda: read(state / "work/said.json"))
    judge(said)
    story.say("the CLI has another", f"{len(said)} attempts ended as they should")
    check(Path(f"/proc/{serving}").exists(), "the harness was ended")
    check(owner(state) == base and owner(state / ".hive") == base + 60600, "the state is not divided")
    check(not (state / ".hive/hyperhive-model").exists(), "a file of the agent counts as the harness's")
    story.until("what it left behind is gone", lambda: None if left() else True)
    story.say("what it left behind has ended", "with its unit")

    story.hive("rollback", "alice")
    check(story.ended(2)["state"] == "deployed", f"2 ended {story.ended(2)}")
    serving = harness(story.healthy("alice")["pid"])
    check({owner(Path(f"/proc/{serving}")), owner(state), owner(state / ".hive")} == {base + 1000}, "not one uid again")
    story.say("a script has one uid again", "and all is its own")


def judge(said: dict[str, Any]) -> None:
    """Compare what the CLI said with what it may."""
    check(said.pop("ids") == [1000, 100, [100, 60600]], f"the CLI has other ids: {said}")
    check(said.pop("unprivileged") == ["0000000000000000", "1"], f"the CLI has rights: {said}")
    check(said.pop("cwd") == "/state/work", f"it is elsewhere: {said}")
    check(said.pop("left") == 1, f"it left nothing behind: {said}")
    check(said.pop("credentials") == "", f"it has credentials: {said}")
    may = {name for name, answer in said.items() if answer == "done"}
    check(
        may
        == {
            *("write /state/notes.md", "write /state/work/code", "write ~/.login", "write /dev/stderr"),
            *("replace /state/notes.md", "read what is for it"),
        },
        f"it could do other things: {said}",
    )
    check(all(answer in ("EACCES", "EPERM") for name, answer in said.items() if name not in may), f"it failed: {said}")


def owner(path: Path) -> int:
    """The uid that a file or a process belongs to."""
    return path.lstat().st_uid


def read(path: Path) -> dict[str, Any] | None:
    """What the CLI wrote; None until then."""
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def left() -> list[str]:
    """The processes that the CLI left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"sleep\x0086399"):
                found.append(path.parent.name)
        except OSError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())

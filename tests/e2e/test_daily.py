"""What an operator does all day: look at history and differences, edit settings, read logs, enter a container."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from meta.names import AgentName
from meta.process import agent_programs
from reconciler.backends.local.enclosure import search_path
from tests.support.lab import Lab

GOOD = 'label = "good"\n'
BETTER = 'label = "better"\n'

pytestmark = [pytest.mark.bwrap, pytest.mark.lab(agents=("alice",))]


def editor(lab: Lab, monkeypatch: pytest.MonkeyPatch, script: str, code: int = 0) -> None:
    """An editor that runs `script` (Python) with the file as `path`."""
    program = lab.directory / "editor"
    head = f"#!{sys.executable}\nimport sys, pathlib\npath = pathlib.Path(sys.argv[1])\n"
    program.write_text(f"{head}{script}\nsys.exit({code})\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(program))
    monkeypatch.setattr(tempfile, "tempdir", str(lab.directory))


def kept(lab: Lab) -> list[Path]:
    return list(lab.directory.glob("hive-edit-*/*"))


def test_an_edit_becomes_a_proposal_on_top_of_what_is_deployed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    main = lab.ref("refs/heads/main")
    editor(lab, monkeypatch, f"was = path.read_text(); path.write_text({GOOD!r} + was[was.index('#? The keys'):])")
    said = lab.hive("edit", "alice", "-m", "a better label", "--json")
    assert said.code == 0, said.err
    card = json.loads(said.out)
    id = card["id"]
    assert (card["description"], card["state"], card["source"]) == ("a better label", "proposal", "edit#agent.toml")
    assert card["proposed_by"] == f"operator uid {os.geteuid()}"
    assert lab.ref(f"refs/tags/proposal/{id}~1") == main
    assert lab.git(lab.applied(), "show", f"proposal/{id}:agent.toml") + "\n" == GOOD
    assert lab.git(lab.applied(), "diff", "--name-only", main, f"proposal/{id}") == "agent.toml"
    assert kept(lab) == []
    assert lab.approve(id)["state"] == "deployed"

    said = lab.hive("edit", "alice", "--file", str(lab.directory / "nowhere"))
    assert (said.code, "cannot read" in said.err) == (2, True)
    again = lab.post("/api/agents/alice/settings", text=BETTER)
    newer = lab.post("/api/agents/alice/settings", text=BETTER + "# and so\n", replaces=again["id"])
    assert lab.card(again["id"])["note"] == f"superseded by {newer['id']}"
    lab.post(f"/api/proposals/{newer['id']}/deny")


def test_an_edit_that_changes_nothing_proposes_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lab.tags()
    editor(lab, monkeypatch, "")
    said = lab.hive("edit", "alice")
    assert (said.code, said.out, "nothing was changed" in said.err) == (0, "", True)
    editor(lab, monkeypatch, "", code=3)
    assert lab.hive("edit", "alice").code == 1
    assert (lab.tags(), kept(lab)) == (before, [])


def test_text_that_is_not_valid_is_kept_and_never_sent(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    before = lab.tags()
    editor(lab, monkeypatch, "path.write_text('lable = 1')")
    said = lab.hive("edit", "alice")
    (file,) = kept(lab)
    assert said.code == 2
    assert "agent.toml: lable" in said.err
    assert str(file) in said.err
    assert file.read_text(encoding="utf-8") == "lable = 1"
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert lab.tags() == before
    file.unlink()


def test_an_edit_of_what_somebody_else_replaced_meanwhile_is_refused_and_kept(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f'label = "mine"\n# {lab.ref("refs/heads/main")[:7]}\n'
    base = lab.get("/api/agents/alice/settings")["base"]
    assert lab.deploy('label = "theirs"\n')["state"] == "deployed"
    with pytest.raises(Exception, match="has another commit by now"):
        lab.post("/api/agents/alice/settings", text=text, base=base)
    with pytest.raises(Exception, match="already has this text"):
        lab.post("/api/agents/alice/settings", text='label = "theirs"\n')


def test_history_and_differences_name_ids_and_commits(lab: Lab) -> None:
    first, second = lab.deploy('label = "one"\n'), lab.deploy('label = "two"\n')
    rows = json.loads(lab.hive("history", "alice", "--json").out)
    assert [row["id"] for row in rows][:2] == [second["id"], first["id"]]
    assert rows[-1]["kind"] == "spawn"
    assert "deployed" in lab.hive("history", "alice", "-n", "1").out
    words = ["agent.toml:", "label: ", '"one"', '"two"']
    for between in ([], [f"{first['id']}"], [f"{first['id']}..{second['id']}"], [f"{first['fetched_sha'][:9]}.."]):
        said = lab.hive("diff", "alice", *between)
        assert said.code == 0, said.err
        assert all(word in said.out for word in words), said.out
    assert "no difference" in lab.hive("diff", "alice", f"{second['id']}..{second['id']}").out
    assert lab.hive("diff", "alice", "999..").code == 3
    assert lab.hive("diff", "alice", "refs/heads/main..").code == 2


def test_a_log_is_followed_across_lines_that_come_later(lab: Lab) -> None:
    log = lab.layout.backend("local") / "alice" / "log"
    with started(lab, "logs", "alice", "--follow", "-n", "1") as process:
        assert process.stdout is not None
        with log.open("a", encoding="utf-8") as file:
            file.write("a line for the one who waits\n")
        assert "a line for the one who waits\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert "a line for the one who waits" in lab.hive("logs", "alice", "--since", "10m").out


def started(lab: Lab, *words: str) -> subprocess.Popen[str]:
    where = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
    argv = [sys.executable, "-m", "api.cli.main", *words[:1], *where, *words[1:]]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, lab: Lab, *words: str) -> None:
        where = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
        argv = [sys.executable, "-m", "api.cli.main", *words[:1], *where, *words[1:]]
        self.pid, self.fd = os.forkpty()
        if self.pid == 0:
            os.execve(argv[0], argv, {"PATH": os.environ["PATH"], "TERM": "xterm"})
        self.seen = ""

    def until(self, text: str) -> str:
        """Read until `text` came; everything since the last time."""
        while text not in self.seen:
            assert select.select([self.fd], [], [], 20)[0], self.seen
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, f"{text!r} never came: {self.seen!r}"
            self.seen += data.decode(errors="replace")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> int:
        """Its exit code."""
        while select.select([self.fd], [], [], 20)[0]:
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                break
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return code


def test_a_watched_status_follows_what_happens_and_gives_the_terminal_back(lab: Lab) -> None:
    terminal = Terminal(lab, "status", "--watch")
    assert "\x1b[?1049h" in terminal.until("alice")
    terminal.until("running")
    lab.do("alice", "stop")
    terminal.until("stopped")
    lab.do("alice", "start")
    terminal.type("\x03")
    code = terminal.end()
    assert (code, terminal.seen.endswith("\x1b[?25h\x1b[?1049l")) == (0, True), terminal.seen[-200:]


def test_a_watched_status_gives_the_terminal_back_when_it_is_ended(lab: Lab) -> None:
    terminal = Terminal(lab, "status", "--watch")
    terminal.until("alice")
    os.kill(terminal.pid, signal.SIGTERM)
    code = terminal.end()
    assert (code, "\x1b[?1049l" in terminal.seen) == (128 + signal.SIGTERM, True)


def test_a_watched_status_into_a_pipe_is_plain_lines_of_json(lab: Lab) -> None:
    with started(lab, "status", "--watch", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["backend"] == "local"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def inside(lab: Lab, *program: str) -> subprocess.CompletedProcess[str]:
    where = ["--state", str(lab.layout.state), "--runtime", str(lab.layout.runtime)]
    argv = [sys.executable, "-m", "api.cli.main", "shell", *where, "alice", "--", *program]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def test_a_program_in_the_container_sees_what_the_agent_sees_and_has_no_more_rights(lab: Lab) -> None:
    script = (
        "hostname; pwd; echo $HIVE_AGENT; ls -d /state; ls -d $0 2>&1 | grep -c 'No such'"
        "; cat /proc/self/status /proc/self/cgroup"
        "; readlink /proc/self/ns/mnt /proc/self/ns/pid /proc/self/ns/net; exit 7"
    )
    done = inside(lab, "sh", "-c", script, str(lab.layout.state))
    host, home, name, state, hidden, *status = done.stdout.splitlines()
    assert (done.returncode, done.stderr, host, home, name, state) == (7, "", "alice", "/home/agent", "alice", "/state")
    assert hidden == "1"
    pid = harness(int(lab.agent()["pid"]))
    of_agent = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    for key in ("Uid", "Gid", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "NoNewPrivs", "Groups"):
        assert field(status, key) == field(of_agent, key), key
    assert [line for line in status if line.count(":") >= 2 and "/" in line] == (
        Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
    )
    assert status[-3:] == [str(Path(f"/proc/{pid}/ns/{space}").readlink()) for space in ("mnt", "pid", "net")]


def test_a_program_in_the_container_has_the_agents_path(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/of/the/session")
    done = inside(lab, "sh", "-c", "echo $PATH; cat /proc/[0-9]*/environ 2>/dev/null | grep -c /of/the/session")
    assert done.stdout.splitlines() == [search_path((agent_programs.BIN,)), "0"]


def test_hive_workspace_shows_a_repo_as_git_in_the_container_sees_it(lab: Lab) -> None:
    commit = "git -c user.name=x -c user.email=x commit -qm one --allow-empty"
    script = f"mkdir -p /state/work; cd /state/work; git init -qb main r; cd r; {commit}; touch f; echo $https_proxy"
    done = inside(lab, "sh", "-c", script)
    assert done.stdout == "http://127.0.0.1:3128\n"
    shown = lab.hive("workspace", "alice", "r").out.splitlines()
    assert shown[0] == "r: branch main"
    assert shown[1] == "  1 unpushed commits without an upstream"
    assert shown[3:] == ["  1 uncommitted changes", "    ?? f"]


def harness(pid: int) -> int:
    """The process that runs as the agent: the last in the line of bubblewrap's."""
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        pid = int(children[0])
    return pid


def field(status: list[str], key: str) -> str:
    return next(line for line in status if line.startswith(f"{key}:"))


def test_a_shell_has_a_terminal_of_its_own(lab: Lab) -> None:
    terminal = Terminal(lab, "shell", "alice")
    terminal.until("$ ")
    terminal.type("echo $((40+2)) $HIVE_AGENT; tty; stty size; exit 3\n")
    terminal.until("42 alice")
    assert terminal.end() == 3, terminal.seen


def test_a_shell_in_a_stopped_agent_is_refused_with_what_to_do(lab: Lab) -> None:
    lab.do("alice", "stop")
    done = inside(lab, "true")
    assert (done.returncode, "alice is not running" in done.stderr, "hive start alice" in done.stderr) == (
        4,
        True,
        True,
    )
    lab.do("alice", "start")
    assert lab.layout.agent_home(AgentName("alice")).is_dir()

"""What the tests in virtual machines say; put before each test's own script."""

# ruff: noqa: F821
import json
import shlex


def hive(words: str, who: str = "ada") -> str:
    """Run the command as an operator."""
    return host.succeed(f"runuser -l {who} -c {shlex.quote('hive ' + words)}")


def agent(name: str) -> dict:
    """The agent's row of `hive status`."""
    rows = json.loads(hive("status --json"))["agents"]
    return next(row for row in rows if row["agent"] == name)


def ready() -> None:
    """The daemon and the manager are up."""
    host.wait_for_unit("hive.service")
    host.wait_for_unit("hive-privileged.socket")
    host.wait_until_succeeds("runuser -l ada -c 'hive list' | grep -q manager", timeout=60)
    host.wait_for_unit("container@manager.service", timeout=300)


def pending(name: str) -> int:
    """The id of the agent's proposal that waits."""
    host.wait_until_succeeds(f"runuser -l ada -c 'hive pending --json' | grep -q {name}", timeout=60)
    return next(card["id"] for card in json.loads(hive("pending --json")) if card["agent"] == name)


def propose(name: str, file: str, text: str) -> int:
    """Let the manager edit a file of the agent and ask for approval; the id."""
    edit = f"edit {name} {file}\n{text}"
    hive(f"send manager {shlex.quote(edit)}")
    hive(f"send manager {shlex.quote(f'propose {name} because')}")
    return pending(name)


def push(name: str, file: str, text: str) -> int:
    """Clone the agent's repo, commit a file and push it; the id."""
    work, state = f"/home/ada/{name}", "/var/lib/hyperhive"
    host.succeed(f"runuser -l ada -c 'git clone -q {state}/applied/{name}/.git {work}'")
    host.succeed(f"printf %s {shlex.quote(text)} > {work}/{file}")
    host.succeed(f"runuser -l ada -c 'git -C {work} commit -q -a -m {file}'")
    host.succeed(f"runuser -l ada -c 'git -C {work} push -q {state}/push/{name}.git HEAD:main'")
    return pending(name)


def tags(name: str) -> list[str]:
    """The tags of the agent's applied repo."""
    return host.succeed(f"runuser -l ada -c 'git -C /var/lib/hyperhive/applied/{name}/.git tag'").split()

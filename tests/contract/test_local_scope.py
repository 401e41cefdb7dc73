"""What the sandbox of backend `local` holds of a scope by mounts, and what the harness finds of them inside."""

from __future__ import annotations

import sys
from pathlib import Path

from reconciler.backends.local.scope_binds import Binds, scope_binds
from tests.contract.localhost import ALICE, LINGER, Host

HEAD = '[scope]\nallow = [{ target = "/state", permission = "write" }]\n'
SCOPE = f"""runtime = "claude"
{HEAD}
deny = [
    {{ target = "/state/work/release", permission = "write" }},
    {{ target = "/state/work/keys", permission = "read" }},
    {{ target = "/state/secret", permission = "read" }},
    {{ target = "/state/gone", permission = "read" }},
    {{ target = "/state/near", permission = "read", recursive = false }},
]
"""
HELD = """
from harness.scope.bounds import without_mounted
from harness.scope.mounts import read_mounts
from harness.scope.needs import scope_of
from meta.agent_toml.settings import parse_settings
from pathlib import Path
scope = scope_of(parse_settings(Path("/config/agent.toml").read_bytes()).scope, Path("/config"))
print(*(rule.target for rule in without_mounted(scope, read_mounts()).deny))
"""


def prepared(folder: Path) -> None:
    for name in ("work/release", "work/keys", "near"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("before")
    (folder / "secret").write_text("before")


async def test_a_denied_path_is_a_mount_that_can_be_neither_written_nor_moved(local_host: Host) -> None:
    host = local_host
    generation = host.generation(ALICE)
    (generation.system / "tree/agent.toml").write_text(SCOPE)
    await host.backend.create(ALICE, host.settings(ALICE))
    await host.backend.set_system(ALICE, generation)
    await host.backend.write_settings(ALICE, host.settings(ALICE))
    await host.backend.own_directories(ALICE, host.settings(ALICE))
    state = host.layout.agent_state(ALICE)
    prepared(state)
    for path in (state / "work", state):
        path.chmod(0o777)
    host.script = f"""
cd /state; cat work/release/file; echo
(echo 1 > work/release/file; echo 1 > work/release/new; rm -r work/release; mv work/release x; mv work x) 2>/dev/null
(cat work/keys/file secret; ls work/keys; chmod 777 work/keys secret; rm secret; mv secret x; umount secret) 2>/dev/null
echo 1 > work/new && echo made
{sys.executable} -c '{HELD}'
echo end
{LINGER}"""
    await host.backend.start(ALICE, host.launch(generation))
    lines = (await host.until_logged(ALICE, "end\n")).splitlines()
    assert lines == ["before", "made", "/state/gone /state/near", "end"]
    assert (state / "work/release/file").read_text() == (state / "secret").read_text() == "before"


def binds(tmp_path: Path, text: str) -> Binds:
    tree, folder, state = tmp_path / "tree", tmp_path / "folder", tmp_path / "state"
    for path in (tree, folder, state):
        path.mkdir(exist_ok=True)
    (tree / "agent.toml").write_text(text)
    return scope_binds(tree, folder, [(state, Path("/state"))])


def inside(found: Binds) -> tuple[list[str], list[str]]:
    return [str(path) for _, path in found.read_only], [str(path) for _, path in found.writable]


def test_nothing_that_a_link_leads_to_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    prepared(tmp_path / "state")
    assert len(binds(tmp_path, SCOPE).read_only) == 3
    (tmp_path / "state/work").rename(tmp_path / "aside")
    (tmp_path / "state/work").symlink_to(tmp_path / "aside")
    assert inside(binds(tmp_path, SCOPE)) == (["/state/secret"], [])
    (tmp_path / "state/secret").unlink()
    (tmp_path / "state/secret").symlink_to("/etc/passwd")
    assert binds(tmp_path, SCOPE) == Binds()


def test_a_deny_within_another_one_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "state/a/b/c").mkdir(parents=True)

    def denied(*rules: tuple[str, str]) -> tuple[list[str], list[str]]:
        rows = ", ".join(f'{{ target = "/state/{name}", permission = "{permission}" }}' for name, permission in rules)
        return inside(binds(tmp_path, f"{HEAD}deny = [{rows}]\n"))

    assert denied(("a", "write"), ("a/b/c", "read")) == (["/state/a/b/c", "/state/a"], [])
    assert denied(("a", "read"), ("a/b", "write"), ("a", "write")) == (["/state/a"], [])
    assert denied(("a/b/c", "write")) == (["/state/a/b/c"], ["/state/a", "/state/a/b"])


def test_a_file_without_a_scope_or_with_a_fault_mounts_nothing(tmp_path: Path) -> None:
    for text in ("", "[scope]\n", "nonsense"):
        assert binds(tmp_path, text) == Binds()

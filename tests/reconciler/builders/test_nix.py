"""Builder `nix` with the real nix: what is built, what is refused and in which words, what is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from meta.approval import objection
from meta.config import Config
from meta.desired.reader import MAIN
from meta.errors import BuildFailed, Refused, TransientError
from meta.model import Generation, Limits
from meta.names import AgentName, ProposalId
from meta.nix import Summary, compare, summary
from meta.nix.store import locate
from tests.reconciler.builders.nix_host import NixHost

pytestmark = pytest.mark.nix
ALICE, BOB = AgentName("alice"), AgentName("bob")
ONE, TWO = ProposalId(1), ProposalId(2)


async def build(host: NixHost, module: str, id: int = 1) -> Generation:
    """Build alice with this agent.nix."""
    sha = await host.commit(ALICE, host.with_module(module))
    return await host.builder.build(host.request(ALICE, id, sha))


async def failure(host: NixHost, module: str) -> BuildFailed:
    """How a build of this agent.nix fails."""
    with pytest.raises(BuildFailed) as caught:
        await build(host, module)
    assert host.builder.built(ALICE) == {}
    return caught.value


async def test_a_commit_is_locked_evaluated_built_and_rooted(nix_host: NixHost) -> None:
    generation = await build(nix_host, '{ ... }: { environment.etc.motd.text = "hello"; }')
    assert json.loads((generation.system / "system.json").read_text())["etc"] == {"motd": "hello"}
    link = nix_host.layout.generation(ALICE, generation.id)
    assert link.readlink() == generation.system
    assert str(link) in nix_host.store.run("nix-store", "--gc", "--print-roots")
    nix_host.store.run("nix-store", "--gc")
    assert nix_host.builder.built(ALICE) == {ONE: generation}


async def test_a_second_build_gives_the_same_generation_also_after_a_collection(nix_host: NixHost) -> None:
    sha = await nix_host.commit(ALICE, nix_host.good("a"))
    request = nix_host.request(ALICE, 1, sha)
    first = await nix_host.builder.build(request)
    nix_host.store.run("nix-store", "--gc")
    assert await nix_host.builder.build(request) == first


async def test_nix_finds_git_on_the_path_of_the_daemon_alone(
    nix_host: NixHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "odd" / "bin"
    odd.mkdir(parents=True)
    git = shutil.which("git")
    odd.joinpath("git").write_text(f'#!/bin/sh\necho "$1" >>"$XDG_CACHE_HOME/odd-git"\nexec {git} "$@"\n')
    odd.joinpath("git").chmod(0o755)
    sha = await nix_host.commit(ALICE, nix_host.good("odd"))
    request = nix_host.request(ALICE, 1, sha)
    monkeypatch.setenv("PATH", f"{odd}:{os.environ['PATH']}")
    await nix_host.builder.build(request)
    assert [path for path in nix_host.layout.state.rglob("odd-git") if path.stat().st_size]


async def test_another_agents_deploy_gives_no_other_generation(nix_host: NixHost) -> None:
    sha = await nix_host.commit(ALICE, nix_host.good("a"))
    first = await nix_host.builder.build(nix_host.request(ALICE, 1, sha))
    nix_host.request(BOB, 2, await nix_host.commit(BOB, nix_host.good("b")))
    assert await nix_host.builder.build(nix_host.request(ALICE, 1, sha)) == first


async def test_what_is_deployed_is_built_again_from_main(nix_host: NixHost) -> None:
    sha = await nix_host.commit(ALICE, nix_host.good("a"))
    request = nix_host.request(ALICE, 1, sha)
    first = await nix_host.builder.build(request)
    nix_host.git("update-ref", MAIN, request.candidate)
    nix_host.git("update-ref", "-d", "refs/hive/candidate/alice.1")
    assert await nix_host.builder.build(request) == first


async def test_other_settings_are_another_generation_of_the_same_system(nix_host: NixHost) -> None:
    request = nix_host.request(ALICE, 1, await nix_host.commit(ALICE, nix_host.good("a")))
    limited = replace(request, id=TWO, settings=replace(request.settings, limits=Limits(memory_mib=64)))
    nix_host.git("update-ref", MAIN, request.candidate)
    one, two = await nix_host.builder.build(request), await nix_host.builder.build(limited)
    assert one.system == two.system
    assert one.id != two.id


async def test_two_agents_are_built_at_once(nix_host: NixHost) -> None:
    requests = [nix_host.request(name, 1, await nix_host.commit(name, nix_host.good(name))) for name in (ALICE, BOB)]
    made = await asyncio.gather(*(nix_host.builder.build(request) for request in requests))
    assert [nix_host.intact(each, each.agent) for each in made] == [True, True]


# what is wrong with agent.nix
async def test_a_syntax_error_is_named_with_its_line(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }:\n{\n  a = ;\n}\n")
    assert error.summary.startswith("agent.nix does not parse: syntax error, unexpected ';'")
    assert "agent.nix:3:7" in error.log
    assert "/tmp" not in error.log


async def test_an_undefined_variable_is_named_with_its_line(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }:\n{ networking.hostName = nmae; }\n")
    assert "undefined variable 'nmae'" in error.summary
    assert "agent.nix:2:" in error.log


async def test_an_unknown_option_is_named_with_its_file(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }: { services.nginks.enable = true; }\n")
    assert "services.nginks" in error.log
    assert "agent.nix" in error.log
    assert str(nix_host.store.top) not in error.log


async def test_a_value_of_the_wrong_type_is_named_with_its_option(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }: { environment.etc.x.text = 3; }\n")
    assert "environment.etc.x.text" in error.log
    assert str(nix_host.store.top) not in error.log


async def test_an_error_while_evaluating_is_named_with_its_line(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }:\n{\n  environment.etc.x.text = { }.y;\n}\n")
    assert "attribute 'y' missing" in error.summary
    assert "agent.nix:3:" in error.log
    assert str(nix_host.store.top) not in error.log


async def test_a_builder_that_fails_is_told_with_the_end_of_its_log(nix_host: NixHost) -> None:
    lines: list[tuple[AgentName, ProposalId, str]] = []
    nix_host.builder = nix_host.make("1.0", on_log=lambda *each: lines.append(each))
    broken = """derivation {
      name = "broken"; system = "x86_64-linux"; builder = "/bin/sh";
      args = [ "-c" "echo error: first; echo ghp_0123456789abcdefghij; exit 3" ];
    }"""
    error = await failure(nix_host, f"{{ ... }}: {{ environment.etc.x.text = toString ({broken}); }}")
    assert "failed with exit code 3" in error.log
    assert "broken.drv" in error.summary
    assert "[redacted]" in error.log
    assert (ALICE, ONE, "error: first") in lines


async def test_an_infinite_recursion_ends_at_once(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }: let x = x + 1; in { environment.etc.x.text = toString x; }")
    assert "infinite recursion" in error.summary


async def test_a_list_bomb_meets_the_memory_limit(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }: { environment.etc.x.text = builtins.genList (x: x) 1000000000; }")
    assert error.summary == "the evaluation needs more memory than it may have (2048 MiB)"


async def test_an_evaluation_without_end_meets_the_deadline(nix_host: NixHost) -> None:
    nix_host.builder = nix_host.make("1.0", seconds=1.0)
    many = "builtins.genList (x: x) 1000000"
    endless = "toString (builtins.foldl' (a: b: builtins.foldl' (c: d: c) a many) 0 many)"
    error = await failure(nix_host, f"{{ ... }}: let many = {many}; in {{ environment.etc.x.text = {endless}; }}")
    assert error.summary == "the evaluation did not end within 1 s"


async def test_a_build_without_end_meets_the_deadline(nix_host: NixHost) -> None:
    nix_host.config = Config.model_validate({"build_deadline": 1.0})
    nix_host.builder = nix_host.make("1.0")
    endless = """derivation {
      name = "endless"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "while :; do :; done" ];
    }"""
    error = await failure(nix_host, f"{{ ... }}: {{ environment.etc.x.text = toString ({endless}); }}")
    assert error.summary == "the build did not end within 1 s"


# what an evaluation may not do
async def test_an_import_from_a_derivation_is_refused(nix_host: NixHost, tmp_path: Path) -> None:
    drv = f"""derivation {{
      name = "ifd"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out; : > {tmp_path}/ran" ];
    }}"""
    error = await failure(nix_host, f"{{ ... }}: {{ environment.etc.x.text = import ({drv}); }}")
    assert "allow-import-from-derivation" in error.summary
    assert not (tmp_path / "ran").exists()


async def test_a_program_cannot_be_run_by_an_evaluation(nix_host: NixHost) -> None:
    error = await failure(nix_host, '{ ... }: { environment.etc.x.text = builtins.exec [ "/bin/sh" "-c" "id" ]; }')
    assert "'exec' missing" in error.summary


async def test_a_file_of_the_host_cannot_be_read(nix_host: NixHost) -> None:
    error = await failure(nix_host, "{ ... }: { environment.etc.x.text = builtins.readFile /etc/hostname; }")
    assert "/etc" in error.summary


async def test_another_agents_repo_cannot_be_fetched_even_by_who_knows_a_commit(nix_host: NixHost) -> None:
    secret = await nix_host.commit(BOB, {"secret": b"s3cret"})
    url = f"file://{nix_host.layout.applied_git(BOB)}"
    fetch = f'builtins.fetchGit {{ url = "{url}"; rev = "{secret}"; ref = "refs/hive/test-1"; }}'
    module = f'{{ ... }}: {{ environment.etc.x.text = builtins.readFile "${{{fetch}}}/secret"; }}'
    error = await failure(nix_host, module)
    assert str(nix_host.layout.applied_git(BOB)) in error.log
    nix_host.config = Config.model_validate({"isolation": "unsafe-none"})  # the jail is what stops it
    nix_host.builder = nix_host.make("1.0")
    found = await build(nix_host, module)
    assert "s3cret" in (found.system / "system.json").read_text()


async def test_an_agents_own_repo_can_be_fetched(nix_host: NixHost) -> None:
    own = await nix_host.commit(ALICE, {"data": b"mine"})
    url = f"file://{nix_host.layout.applied_git(ALICE)}"
    fetch = f'builtins.fetchGit {{ url = "{url}"; rev = "{own}"; ref = "refs/hive/test-1"; }}'
    found = await build(nix_host, f'{{ ... }}: {{ environment.etc.x.text = builtins.readFile "${{{fetch}}}/data"; }}')
    assert "mine" in (found.system / "system.json").read_text()


async def test_a_download_by_hash_is_refused(nix_host: NixHost) -> None:
    fetch = f'builtins.fetchurl {{ url = "http://127.0.0.1:9/x"; sha256 = "{"0" * 64}"; }}'
    error = await failure(nix_host, f"{{ ... }}: {{ environment.etc.x.text = {fetch}; }}")
    assert "127.0.0.1:9" in error.log


async def test_a_build_sees_nothing_of_hives_state(nix_host: NixHost, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    look = f"""derivation {{
      name = "look"; system = "x86_64-linux"; builder = "/bin/sh";
      args = [ "-c" "if [ -e {tmp_path}/secret ]; then echo seen; else echo hidden; fi > $out" ];
    }}"""
    found = await build(nix_host, f"{{ ... }}: {{ environment.etc.x.text = toString ({look}); }}")
    seen = json.loads((found.system / "system.json").read_text())["etc"]["x"]
    assert Path(seen).read_text() == "hidden\n"


# the host's trouble
async def test_a_lost_nix_daemon_is_transient(nix_host: NixHost) -> None:
    request = nix_host.request(ALICE, 1, await nix_host.commit(ALICE, nix_host.good("a")))
    gone = locate({**nix_host.store.environment, "NIX_REMOTE": "unix:///nowhere/socket"})
    with pytest.raises(TransientError, match="socket"):
        await nix_host.make("1.0", nix=replace(nix_host.store.nix(), store=gone)).build(request)


async def test_an_input_that_is_not_there_is_named_when_the_flake_is_locked(nix_host: NixHost, tmp_path: Path) -> None:
    folder, gone = tmp_path / "flake", tmp_path / "gone"
    folder.mkdir()
    text = f'{{ inputs.hyperhive = {{ url = "path:{gone}"; flake = false; }}; outputs = _: {{ }}; }}'
    (folder / "flake.nix").write_text(text)
    with pytest.raises(BuildFailed, match=str(gone)) as caught:
        await nix_host.store.nix().lock(folder, 30)
    assert caught.value.hint.startswith(f"put {gone} back, or set HIVE_NIXPKGS and HIVE_HYPERHIVE")


async def test_with_a_nix_daemon_an_evaluation_runs_as_a_user_without_rights(daemon_host: NixHost) -> None:
    home = daemon_host.layout.nix(AgentName("alice")) / "evaluate"
    assert not daemon_host.store.nix().store.direct
    first = await build(daemon_host, '{ ... }: { environment.etc.x.text = "x"; }')
    assert [(home / name).stat().st_uid for name in (".", "cache", "cache/nix", "tmp")] == [0, 65534, 65534, 65534]
    daemon_host.tamper(first)
    assert await build(daemon_host, '{ ... }: { environment.etc.x.text = "x"; }') == first
    assert json.loads((first.system / "system.json").read_text())["etc"] == {"x": "x"}


async def test_shared_inputs_outlive_a_garbage_collection(nix_host: NixHost) -> None:
    await build(nix_host, "{ ... }: { }")
    kept = nix_host.layout.state / "nix" / "inputs"
    paths = [link.readlink() for link in kept.iterdir()]
    nix_host.store.run("nix-store", "--gc")
    assert len(paths) == 1
    assert (paths[0] / "flake.nix").exists()


async def test_a_preview_and_a_build_of_one_agent_do_not_disturb_each_other(nix_host: NixHost) -> None:
    request = nix_host.request(ALICE, 1, await nix_host.commit(ALICE, nix_host.good("a")))
    previews = asyncio.gather(nix_host.builder.preview(request), nix_host.builder.preview(request))
    built, (one, two) = await asyncio.gather(nix_host.builder.build(request), previews)
    assert one == two
    assert nix_host.builder.built(ALICE) == {ONE: built}


async def test_without_bubblewrap_nothing_is_evaluated_unless_it_is_asked_for(
    nix_host: NixHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = nix_host.request(ALICE, 1, await nix_host.commit(ALICE, nix_host.good("a")))
    monkeypatch.setattr("meta.process.sandbox.available", lambda: None)
    with pytest.raises(Refused, match="bubblewrap"):
        await nix_host.builder.build(request)
    nix_host.config = Config.model_validate({"isolation": "unsafe-none"})
    built = await nix_host.make("1.0").build(request)
    assert nix_host.make("1.0").built(ALICE) == {ONE: built}


# before the approval
MODULE = """{ pkgs, ... }: {
  environment.systemPackages = [ pkgs.git ];
  networking.firewall.allowedTCPPorts = [ 80 ];
  users.users.sync = { uid = 900; extraGroups = [ "wheel" ]; isSystemUser = true; };
  systemd.services.sync = { script = "true"; serviceConfig.AmbientCapabilities = [ "CAP_NET_ADMIN" ]; };
  security.wrappers.tool = { setuid = true; source = "/x"; };
}"""


async def test_a_preview_says_what_the_system_would_be_and_builds_nothing(nix_host: NixHost) -> None:
    plain = nix_host.request(ALICE, 1, await nix_host.commit(ALICE, nix_host.with_module("{ ... }: { }")))
    rich = nix_host.request(ALICE, 2, await nix_host.commit(ALICE, nix_host.with_module(MODULE)))
    before, after = await nix_host.builder.preview(plain), await nix_host.builder.preview(rich)
    assert compare(before.summary, after.summary) == (
        "+ setuid program tool",
        "+ capability CAP_NET_ADMIN of sync.service",
        "+ open port tcp/80",
        "+ user sync (uid 900 wheel)",
        "~ activation script users",
        "+ unit sync.service",
        "~ unit firewall.service",
        "~ file /etc/systemd/system",
        "+ package git 0",
        "~ the activation of the system as a whole: the lines above may not be all",
        "~ the files in /etc as a whole: the lines above may not be all",
        "~ the packages as a whole: the lines above may not be all",
    )
    assert compare(after.summary, after.summary) == ()
    assert nix_host.builder.built(ALICE) == {}
    assert not nix_host.layout.generations(ALICE).exists()


async def test_a_summary_that_is_too_large_is_refused_with_words(nix_host: NixHost) -> None:
    many = 'builtins.genList (number: { name = "option-${toString number}"; value = 1; }) 50000'
    module = nix_host.with_module(f"{{ ... }}: {{ nix.settings = builtins.listToAttrs ({many}); }}")
    with pytest.raises(BuildFailed, match=r"too large to be shown: its summary has more than 1\.0 MiB") as caught:
        await nix_host.builder.preview(nix_host.request(ALICE, 1, await nix_host.commit(ALICE, module)))
    assert "agent.nix" in caught.value.hint


async def test_a_summary_is_read_beside_the_event_loop(nix_host: NixHost, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def parse(data: bytes) -> Summary:
        threads.append(threading.get_ident())
        return real(data)

    real = summary.parse
    monkeypatch.setattr(summary, "parse", parse)
    await nix_host.builder.preview(nix_host.request(ALICE, 1, await nix_host.commit(ALICE, nix_host.good("a"))))
    assert threads
    assert threading.get_ident() not in threads


async def test_an_approval_outlives_another_agents_deploy_and_not_another_commit(nix_host: NixHost) -> None:
    sha = await nix_host.commit(ALICE, nix_host.good("a"))
    shown = (await nix_host.builder.preview(nix_host.request(ALICE, 1, sha))).shown
    nix_host.request(BOB, 2, await nix_host.commit(BOB, nix_host.good("b")))
    assert objection(shown, (await nix_host.builder.preview(nix_host.request(ALICE, 1, sha))).shown) is None
    other = await nix_host.commit(ALICE, nix_host.good("c"))
    assert objection(shown, (await nix_host.builder.preview(nix_host.request(ALICE, 1, other))).shown) is not None

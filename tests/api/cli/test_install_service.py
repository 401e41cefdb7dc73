"""hive.service for a host without NixOS: as hardened as the module's, valid, written once, removed only if hive's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from api.cli.client.exit_codes import Code
from api.cli.commands import install_service
from api.cli.commands.install_service import Manager
from api.cli.main import execute
from api.cli.render.unit import BOTH, MARK, OTHER, SYSTEM, Installation, text_of, word
from meta.errors import BadInput

MODULE = Path(__file__).parents[3] / "nix/modules/host/daemon.nix"
HIVE = ("/usr/bin/true",)
SOURCE = (Path("/usr"),)
PLACES = (Path("/var/lib/hyperhive"), Path("/run/hyperhive"))


def of_the_module() -> dict[str, str | tuple[str, ...]]:
    """Return the directives of the module's hive.service with their values, as a unit file has them."""
    body = MODULE.read_text(encoding="utf-8").split("serviceConfig = {\n")[1]
    block, _, rest = body.partition("\n      }\n")
    pairs = re.findall(r"^        (\w+) = (\[.*?\]|[^;\[]+);$", block, re.MULTILINE | re.DOTALL)
    values = {key: value_of(text) for key, text in pairs}
    assert "WatchdogSec = cfg.watchdog" in rest
    default = re.search(
        r"watchdog = mkOption \{.*?default = (\d+);", (MODULE.parents[1] / "hive.nix").read_text(), re.DOTALL
    )
    assert default is not None
    return {**values, "WatchdogSec": default[1]}


def value_of(text: str) -> str | tuple[str, ...]:
    if text.startswith("["):
        return tuple(re.findall(r'"([^"]*)"', text))
    if text.startswith("if "):
        return text.rpartition("else ")[2].strip('"')  # that of backend local
    if " + lib.optionalString (needsNetwork " in text:  # as backend local does
        return "".join(re.findall(r'"([^"]*)"', text))
    return text.strip('"')


def test_every_directive_of_the_module_is_here_or_has_a_reason_not_to_be() -> None:
    module = of_the_module()
    assert len(module) > 35
    shared = {**BOTH, **SYSTEM}
    assert {key: value for key, value in shared.items() if module.get(key) != value} == {}
    assert set(module) - set(shared) == set(OTHER)


@pytest.mark.parametrize(
    "made",
    [
        Installation(HIVE, SOURCE, *PLACES),
        Installation(HIVE, SOURCE, Path("/srv/a disk/50%/$x"), PLACES[1]),
        Installation(HIVE, SOURCE, None, None, user=True),
        Installation(HIVE, SOURCE, Path('/home/ada/my "hive"'), Path("/run/user/7/h"), user=True),
    ],
    ids=["system", "system elsewhere", "user", "user elsewhere"],
)
def test_systemd_takes_the_unit_without_a_complaint(tmp_path: Path, made: Installation) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    unit = tmp_path / "hive.service"
    unit.write_text(text_of(made), encoding="utf-8")
    words = ["systemd-analyze", *(["--user"] if made.user else []), "verify", "--man=no", str(unit)]
    environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_homes_are_hidden_unless_hive_itself_lies_there() -> None:
    assert "ProtectHome=true\n" in text_of(Installation(HIVE, SOURCE, *PLACES))
    for source in ("/root/hive/.venv", "/home/ada/hive"):
        assert "ProtectHome=read-only\n" in text_of(Installation(HIVE, (Path(source),), *PLACES))


@pytest.mark.parametrize(
    ("state", "runtime", "source"),
    [
        ("/home/ada/hive", "/run/hyperhive", "/usr"),
        ("/tmp/hive", "/run/hyperhive", "/usr"),
        ("/var/lib/hyperhive", "/srv/run", "/usr"),
        ("/var/lib/hyperhive", "/run", "/usr"),
        ("/var/lib/hyperhive", "/run/hyperhive", "/tmp/checkout"),
        ("/srv/a\nExecStartPre=/bin/x", "/run/hyperhive", "/usr"),
    ],
)
def test_a_place_that_cannot_work_is_refused(state: str, runtime: str, source: str) -> None:
    with pytest.raises(BadInput) as refused:
        text_of(Installation(HIVE, (Path(source),), Path(state), Path(runtime)))
    assert refused.value.hint


def test_a_word_is_one_word_of_a_unit_file() -> None:
    assert word("/usr/bin/hive") == "/usr/bin/hive"
    assert word('a b%h"$x\\') == '"a b%%h\\"$$x\\\\"'


class Systemctl:
    """A systemctl that notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.running = False

    def call(self, manager: Manager, *words: str) -> int:
        self.calls.append(" ".join(manager.words(*words)))
        if "--now" in words:
            self.running = words[0] == "enable"
        return int(words[0] == "is-active" and not self.running)


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    made = Systemctl()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(Manager, "call", lambda manager, *words: made.call(manager, *words))
    return made


def test_it_is_written_once_and_a_change_names_the_restart(
    tmp_path: Path, systemctl: Systemctl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = tmp_path / "systemd/user/hive.service"
    assert execute(["install-service", "--user"]) == Code.OK
    out = capsys.readouterr().out
    assert f"wrote {unit}" in out
    assert "type next: systemctl --user enable --now hive.service" in out
    assert "enable-linger" in out
    assert "systemctl --user daemon-reload" in systemctl.calls

    systemctl.calls.clear()
    assert execute(["install-service", "--user", "--now"]) == Code.OK
    assert f"{unit} is as it should be" in capsys.readouterr().out
    assert systemctl.calls == [
        "systemctl --user is-active --quiet hive.service",
        "systemctl --user enable --now hive.service",
    ]

    monkeypatch.setitem(install_service.__dict__, "text_of", lambda _: f"{MARK}\nnew")
    assert execute(["install-service", "--user"]) == Code.OK
    assert "type next: systemctl --user restart hive.service" in capsys.readouterr().out
    assert execute(["install-service", "--user", "--remove", "--yes"]) == Code.OK
    assert not unit.exists()
    assert execute(["install-service", "--user", "--remove", "--yes"]) == Code.OK
    assert "there is no" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("--remove", "--yes")])
def test_a_unit_that_hive_did_not_write_stays(
    tmp_path: Path, systemctl: Systemctl, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    unit = tmp_path / "systemd/user/hive.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n", encoding="utf-8")
    assert execute(["install-service", "--user", *words]) == Code.CONFLICT
    assert "was not written by hive" in capsys.readouterr().err
    assert (unit.read_text(encoding="utf-8"), systemctl.calls) == ("[Service]\n", [])


def test_removing_asks_and_another_users_system_is_refused(
    systemctl: Systemctl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(["install-service", "--user"])
    assert execute(["install-service", "--user", "--remove"]) == Code.USAGE
    assert "--yes" in capsys.readouterr().err
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    systemctl.calls.clear()
    assert execute(["install-service"]) == Code.CONFLICT
    assert "--user" in capsys.readouterr().err
    assert systemctl.calls == []


def test_printing_needs_no_rights_and_changes_nothing(
    systemctl: Systemctl, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert execute(["install-service", "--print"]) == Code.OK
    assert "StateDirectory=hyperhive" in capsys.readouterr().out
    assert systemctl.calls == []

"""The parts that a host needs for a real nix and a daemon as a unit, as services.hive would set it up, on a Debian.

/nix is the host's own (on its overlay), so nothing is left on the machine. The units of hive and of its helper are the
module's, with their hardening; drop-ins only give the paths of Debian's programs. The harness is in the closure of each
system, as the flake of this checkout packages it; Python and pydantic, which no cache has, are the machine's own in the
host's /usr; the stub of nixpkgs has their path.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.nix.evaluate import STUB, Evaluator, copy_of_the_repository

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
HOME = Path("/srv/hive-host")
PYTHON = Path("/usr/lib/hive-host")
"""A path in the host and its containers: `python3`, and in `python` the packages that the harness imports."""

MODULES = ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions", "h11")
INTERPRETER = f"/usr/bin/python3.{sys.version_info.minor}"
HIVE = HOME / "hive"
"""A path in the host: the files of hive's flake."""

USER = 64_991
"""The uid and gid of the user and the group `hive`."""

MEMBER, STRANGER = 64_992, 64_993
"""Two users: `ada` is in the group hive, `eve` is not."""

EGRESS = 64_994
"""The uid and gid of the user and the group `hive-egress`."""

_PATH = f"{HOME / 'libexec'}:{{nix}}:/usr/sbin:/usr/bin:/sbin:/bin"
_STORE_PATH = re.compile(r"/nix/store/[^/\s\"]+|/[^\s\"]+/store/[a-z0-9]{32}-[^/\s\"]+")


@dataclass(frozen=True, slots=True)
class Nix:
    """`programs` is the directory with nix; `settings` and `network` are services.hive.settings and .network."""

    programs: Path
    settings: Mapping[str, str | float] = field(default_factory=dict)
    network: Mapping[str, object] = field(default_factory=dict)

    def all_settings(self) -> dict[str, str | float]:
        """Return the settings, with the stub of nixpkgs and this checkout's hive."""
        return {"nixpkgs": f"path:{STUB}", "hyperhive": f"path:{HIVE}", **self.settings}


def programs() -> Path | None:
    """Return the directory of nix's programs; None without nix.

    HIVE_TEST_NIX names another nix than the one on PATH.
    """
    found = shutil.which(os.environ.get("HIVE_TEST_NIX", "nix"))
    if found is None or not Path(found).with_name("nix-daemon").exists():
        return None
    return Path(found).parent


def missing() -> str | None:
    """Return why a host here cannot have builder nix, or None."""
    if programs() is None:
        return "nix is not installed (apt-get install nix-bin)"
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed (apt-get install bubblewrap)"
    if not Path(INTERPRETER).exists():
        return f"{INTERPRETER} is not there, which the containers would run the harness with"
    return None


def hide_store(upper: Path, programs: Path | None) -> None:
    """Give the host an empty /nix, unless nix itself lies there: other processes change the machine's."""
    if programs is not None and not programs.resolve().is_relative_to("/nix"):
        (upper / "nix").mkdir(mode=0o755)
        os.setxattr(upper / "nix", "trusted.overlay.opaque", b"y")


def install(root: Path, nix: Nix) -> None:
    """Install the store, the user hive, hive's units and settings, its flake, and the harness's Python."""
    (root / "nix/store").mkdir(mode=0o1775, parents=True, exist_ok=True)
    libexec, etc = root / "srv/hive-host/libexec", root / "etc/nix"
    etc.mkdir(exist_ok=True)
    (libexec / "nix.conf").replace(etc / "nix.conf")
    (libexec / "nix-env").unlink()
    (libexec / "nix-env").symlink_to(nix.programs / "nix-env")
    for table, line in (
        ("passwd", f"hive:x:{USER}:{USER}::{HOME}/state/home:/bin/false"),
        ("group", f"hive:x:{USER}:ada"),
        ("passwd", f"hive-egress:x:{EGRESS}:{EGRESS}::/:/bin/false"),
        ("group", f"hive-egress:x:{EGRESS}:hive"),
        *(("passwd", f"{who}:x:{uid}:{uid}::/:/bin/false") for who, uid in (("ada", MEMBER), ("eve", STRANGER))),
        *(("group", f"{who}:x:{uid}:") for who, uid in (("ada", MEMBER), ("eve", STRANGER))),
    ):
        with (root / "etc" / table).open("a") as file:
            file.write(f"{line}\n")
    copy_of_the_repository(root / HIVE.relative_to("/"))
    make_library(root / PYTHON.relative_to("/") / "python")
    (root / PYTHON.relative_to("/") / "python3").symlink_to(INTERPRETER)
    _install_units(root, nix)


def _install_units(root: Path, nix: Nix) -> None:
    home, units = root / HOME.relative_to("/"), root / "etc/systemd/system"
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    python = f"export PYTHONPATH={REPO}:{packages} PYTHONDONTWRITEBYTECODE=1\nexec {INTERPRETER} -s -P -m"
    _script(home / "programs/bin/hive", f'{python} api.cli.main "$@"')
    _script(home / "programs/bin/hive-privileged", f'{python} reconciler.privileged "$@"')
    _script(home / "programs/bin/hive-egress", f'{python} reconciler.egress "$@"')
    made = evaluated(nix)
    _script(home / "libexec/hive-privileged-start", _STORE_PATH.sub("/usr", made.helper))
    _script(home / "libexec/hive-egress-start", _STORE_PATH.sub("/usr", made.egress))
    for name, text in made.units.items():
        (units / name).write_text(text)
    (root / "etc/hive").mkdir()
    (root / "etc/hive/daemon.env").write_text(made.settings)
    # as environment.etc has it: a link to a link to a file, with the time that all files of the store have
    (home / "libexec/network.toml").write_text(made.network)
    os.utime(home / "libexec/network.toml", (1, 1))
    (root / "etc/static").mkdir(exist_ok=True)
    (root / "etc/static/network.toml").symlink_to(HOME / "libexec/network.toml")
    (root / "etc/hive/network.toml").symlink_to("/etc/static/network.toml")
    rules = [rule for rule in made.tmpfiles if not rule.startswith("L")]  # links lead into the evaluator's store
    (root / "etc/tmpfiles.d/hive.conf").write_text("".join(f"{rule}\n" for rule in rules))
    path = f'Environment="PATH={_PATH.format(nix=nix.programs)}"'
    # where the checkout or its Python lies in a home, they must be seen
    seen = [f"ProtectHome={'no' if any(_is_in_a_home(Path(each)) for each in (REPO, packages)) else 'yes'}"]
    if any(Path(each).is_relative_to(folder) for each in (REPO, packages) for folder in ("/tmp", "/var/tmp")):
        seen += ["PrivateTmp=no", "ReadWritePaths=/tmp /var/tmp"]
    start = ["ExecStart=", f"ExecStart={HOME}/libexec/hive-privileged-start"]
    # the script that looks at notify_file is in the evaluator's store
    before = [
        "ExecStartPre=",
        f"ExecStartPre=-+{HOME}/programs/bin/hive-privileged take-over --state {HOME}/state --user hive",
    ]
    egress = ["ExecStart=", f"ExecStart={HOME}/libexec/hive-egress-start"]
    for name, lines in (
        ("hive", [path, *seen, *before]),
        ("hive-privileged", [path, *seen, *start]),
        ("hive-egress", [*seen, *egress]),
    ):
        (units / f"{name}.service.d").mkdir()
        (units / f"{name}.service.d/50-debian.conf").write_text("\n".join(["[Service]", *lines, ""]))


@dataclass(frozen=True, slots=True)
class Made:
    """The results of services.hive for the host (units.nix)."""

    units: Mapping[str, str]
    tmpfiles: Sequence[str]
    settings: str
    network: str
    helper: str
    egress: str


def evaluated(nix: Nix) -> Made:
    """Return the evaluated module."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(Path(folder))
        found = evaluator.json(
            HERE / "units.nix",
            programs=str(HOME / "programs"),
            stateDir=str(HOME / "state"),
            given=json.dumps(nix.all_settings()),
            reach=json.dumps(dict(nix.network)),
        )
    return Made(**found)


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text.removeprefix('#!/bin/sh')}\n")
    path.chmod(0o755)


def _is_in_a_home(path: Path) -> bool:
    return path.parts[1:2] in (("home",), ("root",))


def make_library(target: Path) -> None:
    """Copy the packages that the harness imports beyond the standard library and this checkout."""
    for name in MODULES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ImportError(name)
        origin = Path(spec.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, target / name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, target / origin.name)

"""Nix for tests: a store of their own, no network, no settings of the host. Evaluations give JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
STUB = HERE / "stub-nixpkgs"
DEADLINE = 30.0

CONFIG = "\n".join(
    (
        "experimental-features = nix-command flakes",
        "sandbox = false",
        "build-users-group =",
        "substituters =",
        "flake-registry =",
        "warn-dirty = false",
        "allow-import-from-derivation = false",
    )
)
COPIED = (
    *("flake.nix", "pyproject.toml", "README.md", "LICENSE"),
    *("meta", "reconciler", "harness", "api", "nix", "tests/e2e"),
)


class NixFailed(Exception):
    """Nix said no, in these words."""


_USER = """{
  inputs.nixpkgs.url = "@nixpkgs@";
  inputs.hive.url = "@hive@";
  inputs.hive.inputs.nixpkgs.follows = "nixpkgs";
  outputs = { self, nixpkgs, hive }: { view = import ./view.nix { inherit hive nixpkgs; }; };
}
"""


@dataclass(frozen=True)
class Evaluator:
    """Nix with everything of its own below `folder`."""

    folder: Path

    def run(self, *words: str | Path) -> str:
        """Stdout of a nix program. Raises NixFailed."""
        done = subprocess.run(
            [str(word) for word in words],
            env=self.environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        if done.returncode != 0:
            raise NixFailed(done.stderr[-4000:])
        return done.stdout

    def json(self, file: Path, **arguments: str) -> Any:
        """The value of a file that holds a function of strings, or of its attribute."""
        words = [word for name, value in arguments.items() for word in ("--argstr", name, value)]
        return json.loads(self.run("nix-instantiate", "--eval", "--strict", "--json", file, *words))

    def flake(self, url: str, view: Path) -> Any:
        """The JSON of `view`, a function of hive and nixpkgs, in a flake that uses hive as a host's flake does."""
        user = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copy2(view, user / "view.nix")
        (user / "flake.nix").write_text(_USER.replace("@hive@", url).replace("@nixpkgs@", f"path:{STUB}"), "utf-8")
        return json.loads(self.run("nix", "eval", "--json", f"path:{user}#view"))

    def environment(self) -> dict[str, str]:
        """Return the variables of every nix here."""
        mine = {
            "NIX_STORE_DIR": "store",
            "NIX_STATE_DIR": "var",
            "NIX_LOCALSTATE_DIR": "var",
            "NIX_LOG_DIR": "log",
            "NIX_CONF_DIR": "etc",
            "HOME": "home",
        }
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, **{name: str(self.folder / value) for name, value in mine.items()}, "NIX_CONFIG": CONFIG}


def copy_of_the_repository(target: Path) -> Path:
    """What hive's flake consists of, without virtual environments and caches, as a flake that `path:` may take."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target

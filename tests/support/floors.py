"""Write what `make test-floors` installs: each direct dependency at the oldest version that pyproject.toml allows.

    floors.py FOLDER      writes FOLDER/requirements.txt, and FOLDER/constraints.txt for everything else

Everything else has the version of requirements.lock, so that a run next year installs the same. The packages in `TIED`
are the parts of a direct dependency that ask for one version; pip chooses that one.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIED = {"pydantic-core", "mcp-types", "opentelemetry-api", "opentelemetry-semantic-conventions", "importlib-metadata"}
TOOLS = (
    *("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis", "looptime"),
    *("hatchling", "editables"),
)
"""What runs the tests, and installs hive."""
_FLOOR = re.compile(r"^([a-z0-9-]+)>=([0-9.]+)", re.MULTILINE)
_LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def floors() -> dict[str, str]:
    """Return the oldest version of each direct dependency, with those of the extra `traces` that the tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["traces"]]
    return {name: version for name, version in _FLOOR.findall("\n".join(needed)) if name in locked()}


def locked() -> dict[str, str]:
    """Return the versions of requirements.lock."""
    return dict(_LOCKED.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))


def main() -> None:
    """Write both files."""
    folder, oldest = Path(sys.argv[1]), floors()
    wanted = [*(f"{name}=={version}" for name, version in oldest.items()), *TOOLS]
    kept = [f"{name}=={version}" for name, version in locked().items() if name not in TIED | oldest.keys()]
    for name, lines in (("requirements.txt", wanted), ("constraints.txt", kept)):
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes what follows from the code: `python -m tests.nix.generate`.

nix/modules/host/settings.json        from meta/config.py
nix/modules/agent/seccomp.json        from meta/process/seccomp/unit.py
docs/reference/nixos-options.md       from the evaluated modules
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from meta.config import Config
from meta.process.seccomp import unit
from tests.nix.evaluate import HERE, ROOT, Evaluator

SETTINGS = ROOT / "nix" / "modules" / "host" / "settings.json"
SECCOMP = ROOT / "nix" / "modules" / "agent" / "seccomp.json"
PAGE = ROOT / "docs" / "reference" / "nixos-options.md"
SECTIONS = {
    "host": "The host: `nixosModules.default`",
    "agent": "The inside of a container: `nixosModules.agent`",
}
LEFT_OUT = {
    "fixed_uids": "the daemon is not root there, so it gives no uid",
    "egress_control": "hive-egress is a unit of the module, and so the module knows the path",
    "egress_start": "as for egress_control: the daemon starts none",
    "network_ceiling": "services.hive.network.ceiling, which hive-egress gets too",
    "network_file": "services.hive.network, which hive-egress gets too",
    "helper_socket": "the module makes the socket, and so it knows its path",
}
"""Settings of the daemon that are no options of services.hive.settings, and why."""

_WORDS = {"exclusiveMinimum": "above", "minimum": "least", "maximum": "most", "pattern": "pattern"}
"""JSON schema's words for limits, and ours."""
_HEAD = """# NixOS options

Written from the modules by `python -m tests.nix.generate`; a test compares. How to use them:
[hive on NixOS](../howto/nixos.md).
"""


def settings() -> str:
    """settings.json: what each of the daemon's settings may be."""
    fields: dict[str, dict[str, Any]] = {}
    for key, schema in Config.model_json_schema()["properties"].items():
        if key in LEFT_OUT:
            continue
        kept = {name: schema[name] for name in ("type", "default", "description")}
        limits = {_WORDS[word]: value for word, value in schema.items() if word in _WORDS}
        fields[key] = {**kept, **limits}
    return json.dumps(fields, indent=2) + "\n"


def seccomp() -> str:
    """seccomp.json: what the harness's unit refuses."""
    return json.dumps(unit.settings(), indent=2) + "\n"


def page(nix: Evaluator) -> str:
    """docs/reference/nixos-options.md."""
    found = nix.json(HERE / "options.nix")
    parts = [_HEAD]
    for section, title in SECTIONS.items():
        parts.append(f"\n## {title}\n\n| option | type | default | meaning |\n|---|---|---|---|\n")
        parts += [_row(option) for option in found[section]]
    return "".join(parts)


def _row(option: dict[str, Any]) -> str:
    default = "" if option["default"] is None else f"`{_cell(option['default'])}`"
    meaning = _cell(option["description"] or "")
    if option["example"] is not None:
        meaning += f" Example: `{_cell(option['example'])}`."
    return f"| `{option['name']}` | {_cell(option['type'])} | {default} | {meaning} |\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write both."""
    SETTINGS.write_text(settings(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "home").mkdir()
        PAGE.write_text(page(Evaluator(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()

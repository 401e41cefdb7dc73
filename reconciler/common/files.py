"""JSON files of hive's own."""

from __future__ import annotations

import json
from pathlib import Path

from meta import own_file


def write_json(path: Path, value: object, *, mode: int = 0o644, sync: bool = True) -> None:
    """Write `value` as JSON with a line end, as `meta.own_file.write` does."""
    own_file.write(path, json.dumps(value, sort_keys=True).encode() + b"\n", mode=mode, sync=sync)

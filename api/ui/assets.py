"""The files that browsers get: hive's own of `static/`, and those of `vendor/`, which `make setup` fetches."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
VENDOR = ("htmx.min.js", "hx-sse.min.js", "uPlot.iife.min.js", "uPlot.min.css")
_MEDIA = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_TAG = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """One file. `tag` changes with its content, so a browser may keep it for ever."""

    name: str
    content: bytes
    packed: bytes
    media: str
    tag: str


class Assets:
    """The files of one daemon, read once. `missing` are those of `vendor/` that are not there."""

    def __init__(self, own: Path = HERE / "static", vendor: Path = HERE / "vendor") -> None:
        paths = [path for path in sorted(own.iterdir()) if path.suffix in _MEDIA]
        paths += [vendor / name for name in VENDOR if (vendor / name).is_file()]
        self._assets: Mapping[str, Asset] = {path.name: _read(path) for path in paths}
        self.missing = tuple(name for name in VENDOR if name not in self._assets)

    def url(self, name: str) -> str:
        """Return the path of a file by which a page refers to it."""
        asset = self._assets.get(name)
        return f"/static/{asset.tag if asset else 'missing'}/{name}"

    def get(self, name: str) -> Asset | None:
        """Return a file by its name; None if there is none."""
        return self._assets.get(name)


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:_TAG]
    return Asset(path.name, content, gzip.compress(content, mtime=0), _MEDIA[path.suffix], tag)

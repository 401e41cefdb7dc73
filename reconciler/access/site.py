"""The dashboard's one origin, as passkeys need it. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from meta.config import Config
from reconciler.common.touch import Site


def site_of(config: Config) -> Site:
    """Return the origin, and the host of it, which is the id of a relying party."""
    origin = config.dashboard_origin.rstrip("/") or f"http://localhost:{config.dashboard_port}"
    return Site(origin, urlsplit(origin).hostname or "localhost", config.dashboard_name or "hive")

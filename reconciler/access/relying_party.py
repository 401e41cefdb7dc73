"""The dashboard's one origin, as passkeys need it. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from meta.binding import origin_of
from meta.config import Config
from meta.errors import HiveError
from reconciler.common.touch import RelyingParty


def relying_party_of(config: Config) -> RelyingParty:
    """Return the origin, and the host of it, which is the id of a relying party.

    A wrong origin keeps the dashboard from being served, which it reports itself; here it only matches no browser.
    """
    try:
        origin = origin_of(config)
    except HiveError:
        origin = "https://none.invalid"
    return RelyingParty(origin, urlsplit(origin).hostname or "none.invalid", config.dashboard_name or "hive")

"""The rules for links and sessions of the dashboard. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from meta.config import Config
from meta.errors import BadInput
from meta.names import operator_who
from reconciler.store.access import Session

LINK_SECONDS = 300
"""Seconds after which a link that nobody has used is over."""
TOKEN_BYTES = 32
"""Random bytes of a link's token and of a session's cookie."""
BROWSER_LIMIT = 200
"""Characters kept of what a browser calls itself."""
_LIVES = 4
"""A session lasts at most this many times as long as one that nobody uses."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{40,64}")
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Origin:
    """The one origin by which browsers reach the dashboard: `http://localhost:8420`, `https://hive.example.org`."""

    text: str

    @property
    def secure(self) -> bool:
        """True behind TLS."""
        return self.text.startswith("https://")

    @property
    def authority(self) -> str:
        """The host, with the port if it is not the scheme's own: what a browser sends as `Host`."""
        return self.text.partition("://")[2]

    @property
    def host(self) -> str:
        """The host without a port: what passkeys are bound to."""
        return urlsplit(self.text).hostname or ""

    @property
    def port(self) -> int:
        """The port, the scheme's own if none is written."""
        return urlsplit(self.text).port or (443 if self.secure else 80)

    @property
    def local(self) -> bool:
        """True on this host's loopback: without TLS there is no other (meta/binding.py)."""
        return not self.secure


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session lasts: seconds without use, and seconds in all."""

    idle: float
    most: float

    @classmethod
    def of(cls, config: Config) -> Lifetime:
        """Return what the settings say."""
        idle = config.dashboard_session_hours * 3600
        return cls(idle, idle * _LIVES)

    def is_over(self, session: Session, now: float) -> bool:
        """Return True if a session has lasted long enough."""
        return now - session.used_at >= self.idle or now - session.made_at >= self.most

    def ends_at(self, session: Session) -> int:
        """Return the Unix time at which a session ends if nobody uses it any more."""
        return int(min(session.used_at + self.idle, session.made_at + self.most))


def hash_of(token: str) -> bytes:
    """Return the hash under which a token is stored."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def is_token(text: str) -> bool:
    """Return True if a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def csrf_of(secret: bytes, subject: str) -> str:
    """Return the CSRF token of a session or of a user whom a proxy named."""
    return hmac.new(secret, b"csrf " + subject.encode(), hashlib.sha256).hexdigest()


def user_name(text: str) -> str:
    """Return the name of a user whom a proxy named. Raise BadInput if it is long or has other characters."""
    name = text.strip(" \t")
    if not _USER.fullmatch(name):
        raise BadInput(
            f"{name[:40]!r} is no user name",
            "at most 64 letters, digits and . _ @ + -; the proxy's login header has it",
        )
    return name


def who(session: Session) -> str:
    """Return who logged in, as tags and events have it."""
    return operator_who(session.uid, session.user)

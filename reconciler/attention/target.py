"""The place to which notifications go, from HIVE_NOTIFY. Its text may hold a token, so no error shows it. Pure.

https://HOST/PATH            a webhook: JSON is posted to it
ntfy+https://HOST/TOPIC      a topic of an ntfy server
/PATH/PROGRAM ARGUMENT ...   a command: words as in a shell, but no shell runs them; it gets JSON on stdin
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from meta.errors import BadInput

HIDDEN = "[...]"
"""Stands for the parts of a target that may be secret."""
_FORMS = "write https://HOST/PATH, ntfy+https://HOST/TOPIC, or an absolute path of a program with arguments"
_TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
_NTFY = "ntfy+"


@dataclass(frozen=True, slots=True)
class Address:
    """An address of HTTP. Only `name` may be shown. `login` is the user and the password that `headers` has encoded."""

    secure: bool
    host: str
    port: int | None
    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    login: tuple[str, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The address without its login, path and query."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{'https' if self.secure else 'http'}://{host}{port}/{HIDDEN}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that a server may repeat and that may be secret, as they stand in the address and decoded."""
        encoded = self.headers.get("Authorization", "").removeprefix("Basic ")
        logins = [form for part in self.login for form in (part, quote(part, safe=""))]
        parts = re.split("[/?&=]", self.path)
        return (encoded, *logins, *parts, *map(unquote, parts), *(unquote(part.replace("+", " ")) for part in parts))


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address to which JSON is posted."""

    address: Address

    @property
    def name(self) -> str:
        """What may be shown of it."""
        return self.address.name


@dataclass(frozen=True, slots=True)
class Ntfy:
    """A topic of an ntfy server. `address` is that of the server: the topic goes into the JSON."""

    address: Address
    topic: str = field(repr=False)

    @property
    def name(self) -> str:
        """What may be shown of it."""
        return f"{_NTFY}{self.address.name}"


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments."""

    argv: tuple[str, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """What may be shown of it: the program, without its arguments."""
        return self.argv[0] if len(self.argv) == 1 else f"{self.argv[0]} {HIDDEN}"


Target = Webhook | Ntfy | Command


def parse(text: str) -> Target:
    """Return the target that `text` means. Raise BadInput, which does not show the text."""
    if text.startswith("/"):
        return Command(_words(text))
    if text[: len(_NTFY)].lower() == _NTFY:
        return _ntfy(text[len(_NTFY) :])
    return Webhook(_address(text))


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise BadInput(f"HIVE_NOTIFY is not a command: {error}", "quote its words as in a shell") from None
    if not Path(words[0]).is_absolute() or "\0" in text:
        raise BadInput("HIVE_NOTIFY does not name a program", _FORMS)
    return words


def _ntfy(text: str) -> Ntfy:
    address = _address(text)
    if address.login and not address.login[1]:  # ntfy takes a token as a password without a user
        raise BadInput("HIVE_NOTIFY has a login without a password", "write ntfy+https://:TOKEN@HOST/TOPIC")
    path, mark, query = address.path.partition("?")
    server, _, topic = path.rpartition("/")
    if not _TOPIC.fullmatch(topic):
        raise BadInput("HIVE_NOTIFY names no topic of ntfy", "write ntfy+https://HOST/TOPIC")
    root = f"{server}/{mark}{query}"
    return Ntfy(replace(address, path=root), topic)


def _address(text: str) -> Address:
    if not re.fullmatch(r"https?://[!-~]+", text, re.IGNORECASE):  # visible ASCII
        raise BadInput("HIVE_NOTIFY is none of the forms that hive knows", _FORMS)
    invalid = BadInput("HIVE_NOTIFY is a URL without a valid host and port", _FORMS)
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise invalid from None
    if not host:
        raise invalid
    query = f"?{url.query}" if url.query else ""
    login = () if url.username is None else (unquote(url.username), unquote(url.password or ""))
    return Address(url.scheme == "https", host, port, f"{url.path or '/'}{query}", _headers(login), login)


def _headers(login: tuple[str, ...]) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"} if login else {}

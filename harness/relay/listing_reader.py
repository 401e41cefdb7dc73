"""What the relay to hive's tools reads of an exchange that it passes on: is it the list of the tools?"""

from __future__ import annotations

import json

from harness.runtimes.listings import Listings

_REQUEST_BYTES = 16 * 1024
"""A longer request is no `tools/list`."""
_LIST = "tools/list"
_TOOLS = b'"tools"'
"""In an answer to `tools/list`, unless that is an error: a text in JSON cannot have these quotes."""


class ListingReader:
    """Reads one request and its answer."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings
        self._request = b""
        self._end = b""
        self._is_list: bool | None = None

    def ask(self, data: bytes) -> None:
        """Take a part of the request's body."""
        if len(self._request) <= _REQUEST_BYTES:
            self._request += data

    def answer(self, data: bytes) -> None:
        """Take a part of the answer's body that the CLI has now."""
        if self._is_list is None:
            self._is_list = _is_list(self._request)
        if self._is_list:
            self._end += data
            if _TOOLS in self._end:
                self._listings.add()
                self._is_list = False  # count it once
            self._end = self._end[1 - len(_TOOLS) :]


def _is_list(body: bytes) -> bool:
    if len(body) > _REQUEST_BYTES or _LIST.encode() not in body:
        return False
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return any(isinstance(one, dict) and one.get("method") == _LIST for one in _all(value))


def _all(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]

"""Keys that stay outside: what a route of the operator's file is. Standard library only.

The container asks `http://127.0.0.1:PORT/NAME/...` (the harness's relay); `hive-egress` adds the key's header and asks
`upstream/...`. What the container sent under the names of `strips` is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meta.names import ALL


@dataclass(frozen=True, slots=True)
class RouteKind:
    """The form of one vendor's key. `value` has the key at `{key}`; with `basic` it is base64 of `user:key`.

    `paths` are what is served, each with its method; what else is asked is answered with 404. One that ends with `/`
    serves all that is below it, any other itself alone; a `*` is one name in it. `strips` are lower case.
    """

    upstream: str
    header: str
    value: str
    strips: frozenset[str]
    paths: tuple[tuple[str, str], ...]
    basic: bool = False
    metered: str = ""
    """The form in which answers have their tokens: `anthropic`, `openai`, `gemini`, or "" for none."""


_ANTHROPIC = (
    *(("POST", "/v1/messages"), ("POST", "/v1/messages/count_tokens")),
    *(("HEAD", "/api/hello"), ("GET", "/v1/models"), ("GET", "/v1/models/*")),
)
"""What the CLI asks with a base URL of its own: measured with claude 2.1.329 and 2.1.332. No batches: their answers do
not name their tokens, and the key's other batches are behind the same path."""
_OPENAI = (
    *(("POST", "/v1/responses"), ("POST", "/v1/responses/compact"), ("POST", "/v1/chat/completions")),
    *(("GET", "/v1/models"), ("GET", "/v1/models/*")),
)
_GEMINI = tuple(
    (method, f"/{version}/models{rest}")
    for version in ("v1beta", "v1")
    for method, rest in (
        *(("GET", ""), ("GET", "/*")),
        *(("POST", "/*:generateContent"), ("POST", "/*:streamGenerateContent")),
        *(("POST", "/*:countTokens"), ("POST", "/*:embedContent"), ("POST", "/*:batchEmbedContents")),
    )
)

_KEY_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "proxy-authorization", "cookie"})

KINDS: Mapping[str, RouteKind] = MappingProxyType(
    {
        "anthropic": RouteKind(
            "https://api.anthropic.com",
            "x-api-key",
            "{key}",
            _KEY_HEADERS,
            _ANTHROPIC,
            metered="anthropic",
        ),
        "anthropic-token": RouteKind(
            "https://api.anthropic.com",
            "authorization",
            "Bearer {key}",
            _KEY_HEADERS,
            (*_ANTHROPIC, ("GET", "/api/oauth/profile")),
            metered="anthropic",
        ),
        "openai": RouteKind(
            "https://api.openai.com",
            "authorization",
            "Bearer {key}",
            _KEY_HEADERS,
            _OPENAI,
            metered="openai",
        ),
        "gemini": RouteKind(
            "https://generativelanguage.googleapis.com",
            "x-goog-api-key",
            "{key}",
            _KEY_HEADERS,
            _GEMINI,
            metered="gemini",
        ),
        "git": RouteKind(
            "https://github.com",
            "authorization",
            "Basic {key}",
            _KEY_HEADERS,
            (("GET", "/"), ("POST", "/")),
            basic=True,
        ),
        "http": RouteKind(
            "",
            "authorization",
            "Bearer {key}",
            _KEY_HEADERS,
            tuple((method, "/") for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")),
        ),
    }
)
"""The kinds of routes. `http` has no upstream of its own, the operator names it."""


@dataclass(frozen=True, slots=True)
class Route:
    """One key of the operator's file, its defaults filled in. `upstream` has no path behind it and no slash at the end.

    `file` has the key; `agents` may use it, `*` for all. `user` is that of a basic key.
    """

    name: str
    kind: str
    upstream: str
    file: str
    header: str
    value: str
    paths: tuple[tuple[str, str], ...]
    agents: frozenset[str] = frozenset({ALL})
    user: str = "x-access-token"

    @property
    def form(self) -> RouteKind:
        """Return the form of the kind."""
        return KINDS[self.kind]

    def serves(self, agent: str) -> bool:
        """Return True if the agent may use the key."""
        return ALL in self.agents or agent in self.agents


MODEL_ROUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "claude": ("anthropic", "anthropic-token"),
        "claude-acp": ("anthropic", "anthropic-token"),
        "codex": ("openai",),
        "gemini": ("gemini",),
        "opencode": ("anthropic", "openai", "gemini"),
    }
)
"""The kinds of routes by which the CLI of a runtime may reach its model. The first that there is counts."""


def model_route(runtime: str, kinds: Mapping[str, str]) -> str:
    """Return the name of the key by which the CLI of a runtime reaches its model, "" if its login lives inside.

    `kinds` has the kind of each key that serves the agent by its name, in the order of the operator's file: of several
    of one kind the first counts.
    """
    for kind in MODEL_ROUTES.get(runtime, ()):
        for name, each in kinds.items():
            if each == kind:
                return name
    return ""

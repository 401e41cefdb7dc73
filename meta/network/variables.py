"""The variables by which programs in a container find the way out: one table, for the CLI, its tools and `hive shell`.

Each tool reads others (`TOOLS`), so all are set, in both spellings. Standard library only.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

PORT = 3128
"""The port of the harness's relay, if the container has a network namespace of its own."""
PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
DIRECT = ("NO_PROXY", "no_proxy")
LOOPBACK = "127.0.0.1,localhost,::1"
"""127.0.0.1 itself: as 127.0.0.0/8 many tools do not understand it, and hive's own tools would go through the proxy."""
NODE = "NODE_USE_ENV_PROXY"
SSH = "GIT_SSH_COMMAND"
_SSH_URLS = ("git@{host}:", "ssh://git@{host}/")
"""The beginnings of git's URLs over ssh."""

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""Where tools look for the authorities by themselves."""
OTHER_BUNDLES = (
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
CA = (
    "SSL_CERT_FILE",
    "NIX_SSL_CERT_FILE",
    "GIT_SSL_CAINFO",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "CARGO_HTTP_CAINFO",
)
"""Variables that name a file of authorities. agent.toml may set them: a company may have authorities of its own."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What a tool reads: `https` and `http` name its proxy for URLs of that kind, `direct` what is not proxied.

    `also` must be set besides. Empty: it does not read any.
    """

    https: tuple[str, ...]
    http: tuple[str, ...]
    direct: tuple[str, ...] = DIRECT
    ca: tuple[str, ...] = ("SSL_CERT_FILE",)
    also: tuple[str, ...] = ()


_BOTH = ("HTTPS_PROXY", "https_proxy")
_EITHER = ("HTTP_PROXY", "http_proxy")
TOOLS: Mapping[str, Tool] = MappingProxyType(
    {
        "curl": Tool(_BOTH, ("http_proxy",), ca=("SSL_CERT_FILE", "CURL_CA_BUNDLE")),
        "wget": Tool(("https_proxy",), ("http_proxy",), ("no_proxy",), ()),
        "git": Tool(_BOTH, ("http_proxy",), ca=("GIT_SSL_CAINFO",)),
        "git over ssh": Tool((), (), (), (), (SSH,)),
        "pip": Tool(_BOTH, _EITHER, ca=("PIP_CERT", "REQUESTS_CA_BUNDLE")),
        "requests": Tool(_BOTH, _EITHER, ca=("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")),
        "uv": Tool(_BOTH, _EITHER),
        "httpx": Tool(_BOTH, _EITHER),
        "urllib": Tool(_BOTH, _EITHER),
        "npm": Tool(_BOTH, (*_BOTH, *_EITHER), ca=("NPM_CONFIG_CAFILE", "NODE_EXTRA_CA_CERTS")),
        "node": Tool(_BOTH, _EITHER, ca=("NODE_EXTRA_CA_CERTS",), also=(NODE,)),
        "cargo": Tool(_BOTH, _EITHER, ca=("SSL_CERT_FILE", "CARGO_HTTP_CAINFO")),
        "go": Tool(_BOTH, _EITHER, ()),  # loopback is never proxied
        "gh": Tool(_BOTH, _EITHER),
        "nix": Tool(_BOTH, ("http_proxy",), ca=("NIX_SSL_CERT_FILE", "SSL_CERT_FILE")),
        "apt": Tool(("https_proxy",), ("http_proxy",), ("no_proxy",), ()),
        "claude": Tool(_BOTH, (*_BOTH, *_EITHER), ca=("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")),
    }
)
"""Measured with curl 7.88, wget 1.21, git 2.39, pip 23.2, uv 0.13, npm 11.19, node 22, cargo 1.95, go 1.19, nix 2.8,
apt 2.6.

node before 22.21 and aiohttp without trust_env read none of them.
"""


def proxy_variables(port: int, harness: Sequence[str]) -> dict[str, str]:
    """Return what every program of a container gets. `harness` are the words that run `hive-harness` there."""
    connect = shlex.join([*harness, "connect", f"127.0.0.1:{port}"])
    return {
        **dict.fromkeys(PROXY, f"http://127.0.0.1:{port}"),
        **dict.fromkeys(DIRECT, LOOPBACK),
        NODE: "1",
        # two shells read it: git's, and the one that ssh gives the command to
        SSH: f"ssh -o ProxyCommand={shlex.quote(f'{connect} %h %p')}",
    }


def ca_variables(files: Iterable[str]) -> dict[str, str]:
    """Return the variables for a host whose authorities are elsewhere. `files` are the bundles that are there."""
    there = set(files)
    other = next((path for path in OTHER_BUNDLES if path in there), None)
    return {} if BUNDLE in there or other is None else dict.fromkeys(CA, other)


def git_variables(url: str, keys: Mapping[str, str]) -> dict[str, str]:
    """Return git's configuration by variables: ask the routes at this URL in place of where they lead, over ssh too.

    `keys` has the upstream of each route of kind git by its name, https://HOST.
    """
    instead: list[tuple[str, str]] = []
    for name, upstream in keys.items():
        host = upstream.partition("://")[2]
        if host and host.isprintable() and " " not in host:
            originals = (f"{upstream}/", *(form.format(host=host) for form in _SSH_URLS))
            instead += [(f"{url}/{name}/", original) for original in originals]
    variables: dict[str, str] = {}
    for number, (route, original) in enumerate(instead):
        variables[f"GIT_CONFIG_KEY_{number}"] = f"url.{route}.insteadOf"
        variables[f"GIT_CONFIG_VALUE_{number}"] = original
    return {"GIT_CONFIG_COUNT": str(len(instead)), **variables} if instead else {}

"""docs/explanation/walls.md has every socket, mount, fetched path and parser of the code, with bounds that are true."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import pytest

from meta.config import Config
from meta.layout import Layout
from meta.model import ContainerSettings, Role
from meta.names import MANAGER, AgentName, GenerationId
from meta.process import sandbox
from reconciler.backends.local.enclosure import Host, Subject, enclose
from reconciler.plan.observed import Launch
from reconciler.privileged import conf
from reconciler.proposals.tips import PLACES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/walls.md").read_text(encoding="utf-8")
PACKAGES = ("api", "harness", "meta", "reconciler")
ALICE = AgentName("alice")
LAYOUT = Layout(Path("/STATE"), Path("/RUN"))
UNITS = {"": 1, "s": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
BOUND = re.compile(r"`([\w.]+(?:\[\w+\])?)` = (0o\d+|\d+)(?: (s|KiB|MiB|GiB)\b)?")


def section(heading: str) -> list[list[str]]:
    """The rows of all tables below a heading, as cells."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for number, row in enumerate(rows) if not _is_heading(lines, number, text)]


def _is_heading(lines: list[str], number: int, text: str) -> bool:
    return f"{lines[number]}\n|---" in text


HEADINGS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
ROWS = [row for heading in HEADINGS for row in section(heading)]


def words(*cells: str) -> set[str]:
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def named(heading: str) -> set[str]:
    """What the first cells of the tables below a heading name."""
    return words(*(row[0] for row in section(heading)))


# what is in the code
@cache
def modules() -> Mapping[str, ast.Module]:
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


@cache
def walk(tree: ast.AST) -> tuple[ast.AST, ...]:
    """Every node of a module. A walk takes most of the time of these tests."""
    return tuple(ast.walk(tree))


def that(uses: Callable[[ast.AST], bool]) -> set[str]:
    """The modules with a node for which `uses` is True."""
    return {path for path, tree in modules().items() if any(uses(node) for node in walk(tree))}


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _called(node: ast.AST) -> str:
    return _name(node.func) if isinstance(node, ast.Call) else ""


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Each import as (dotted name, the name that it has in the module), wherever and however it is written."""
    for node in walk(tree):
        if isinstance(node, ast.Import):
            yield from ((one.name, one.asname or one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{one.name}", one.asname or one.name) for one in node.names)
        elif _called(node) in {"import_module", "__import__"} and isinstance(node, ast.Call):
            yield from ((str(each.value), "") for each in node.args if isinstance(each, ast.Constant))


def _uses(tree: ast.AST, kinds: Mapping[str, set[str]]) -> bool:
    """Whether a module has something of the modules `kinds` but what `kinds` allows, under any name.

    An `import json` counts by its uses: `json.dumps` may be allowed, `json` as a value is not.
    """
    for dotted, alias in _imported(tree):
        top = next((kind for kind in kinds if f"{dotted}.".startswith(f"{kind}.")), None)
        if top is None or dotted.removeprefix(f"{top}.") in kinds[top]:
            continue
        if dotted != top or not kinds[top] or not alias or not _only(tree, alias, kinds[top]):
            return True
    return False


def _only(tree: ast.AST, alias: str, allowed: set[str]) -> bool:
    names = [node for node in walk(tree) if isinstance(node, ast.Name) and node.id == alias]
    fine = [
        node
        for node in walk(tree)
        if isinstance(node, ast.Attribute) and _name(node.value) == alias and node.attr in allowed
    ]
    return len(names) == len(fine)


def _asyncio(tree: ast.AST, functions: set[str]) -> bool:
    """Whether one of asyncio's functions is named, but not to serve a socket that was bound before (`sock=`)."""
    served = {
        id(node.func)
        for node in walk(tree)
        if isinstance(node, ast.Call) and any(each.arg == "sock" for each in node.keywords)
    }
    names = {_name(node) for node in walk(tree) if id(node) not in served}
    return bool(functions & names) or any(dotted.rpartition(".")[2] in functions for dotted, _ in _imported(tree))


SOCKETS: dict[str, set[str]] = {
    "socket": {"SOCK_STREAM", "AF_UNIX", "SOL_SOCKET", "SO_PEERCRED", "timeout"},
    **{name: set() for name in ("_socket", "socketserver", "multiprocessing.connection", "wsgiref")},
}
STREAMS = {"create_unix_server", "start_unix_server", "open_unix_connection", "create_unix_connection", "socketpair"}
NETWORK: dict[str, set[str]] = {
    "urllib": {"parse", *(f"parse.{name}" for name in ("parse_qsl", "quote", "unquote", "urlencode", "urlsplit"))},
    **{
        name: set()
        for name in ("http", "ssl", "ftplib", "smtplib", "poplib", "imaplib", "xmlrpc", "httpx", "requests", "aiohttp")
    },
}
PARSERS: dict[str, set[str]] = {
    "json": {"dumps", "dump", "JSONEncoder", "JSONDecodeError"},
    "csv": {"writer", "DictWriter"},
    "plistlib": {"dumps", "dump"},
    "pydantic_core": {"ErrorDetails", "PydanticSerializationError"},
    **{name: set() for name in ("tomllib", "tomli", "tomlkit", "pickle", "marshal", "shelve", "dbm", "configparser")},
    **{name: set() for name in ("xml", "lxml", "html.parser", "yaml", "ruamel", "msgpack", "orjson", "email")},
    **{name: set() for name in ("tarfile", "zipfile", "gzip", "bz2", "lzma")},
}
NO_SOCKETS = {
    "api/cli/client/paths.py": "connects the socket that its caller made",
    "api/lines/connection.py": "has a connection that api/lines/server.py accepted",
    "api/ui/server.py": "listens on a port for the dashboard: see Network",
    "api/sockets/principals.py": "asks the kernel for the uid of a peer",
    "reconciler/egress/own_address.py": "asks the kernel where it would send, and from which address; no byte is sent",
    "reconciler/egress/gate.py": "names the type of a connection that reconciler/egress/resolver.py made",
    "reconciler/egress/ports.py": "names the type of a connection",
    "reconciler/egress/resolver.py": "connects to the network: see there",
    "harness/relay/tunnel.py": "connects to a port of loopback in the container: see Network",
    "harness/events/feed.py": "bounds the buffer of the connection that harness/connect.py made",
}
"""Modules that import one of SOCKETS, make none, and why they do."""
NO_PARSERS = {
    "api/ui/assets.py": "packs files of its own package; it unpacks nothing",
    "meta/agent_toml/changes.py": "reads back lists that meta/agent_toml/settings.py wrote",
    "meta/agent_toml/no_effect.py": "reads back lists that meta/agent_toml/settings.py wrote",
    "api/ui/pages/needs_you/settings.py": "reads back lists that meta/agent_toml/settings.py wrote",
    "harness/prompts/permissions.py": "reads a file of its own package",
    "reconciler/upkeep/backups/packing.py": "writes archives; what it reads is on the page below Files",
}
"""Modules that import one of PARSERS, read no text of others, and why they do."""


EVASIONS = [
    "from socket import socket",
    "from socket import socket as new\nnew()",
    "import socket as s\ns.socket()",
    "import socket\nkind = socket",
    "import socketserver\nsocketserver.UnixStreamServer('x', H)",
    "import asyncio\nlisten = asyncio.start_unix_server",
    "from asyncio import open_unix_connection as join",
    "import http.client",
    "from urllib import request",
    "import urllib.request",
    "from json import loads as read",
    "import json as j\nj.load(file)",
    "def f():\n    import json\n    return json.JSONDecoder",
    "from json.decoder import JSONDecoder as D",
    "import tomllib\ntomllib.load(file)",
    "import pickle",
    "from configparser import ConfigParser",
    "from xml.etree import ElementTree",
    "import importlib\nimportlib.import_module('json').loads",
    "__import__('yaml')",
]
"""Programs that could read bytes of others, each written in another way."""


def makes_a_socket(tree: ast.AST) -> bool:
    return _uses(tree, SOCKETS) or _asyncio(tree, STREAMS)


def uses_a_network(tree: ast.AST) -> bool:
    functions = {"start_server", "create_server", "open_connection", "create_connection", "create_datagram_endpoint"}
    return _uses(tree, NETWORK) or _asyncio(tree, {*functions, "AF_INET", "AF_INET6"})


def parses(tree: ast.AST) -> bool:
    """Whether it parses JSON, TOML or the like; `decode` is that of meta.wire.codec."""
    methods = {"loads", "JSONDecoder", "validate_json", "model_validate_json"}
    return (
        _uses(tree, PARSERS)
        or any(dotted == "meta.wire.codec.decode" for dotted, _ in _imported(tree))
        or any(_called(node) in methods for node in walk(tree))
    )


def which(does: Callable[[ast.AST], bool]) -> set[str]:
    """The modules for which `does` is True."""
    return {path for path, tree in modules().items() if does(tree)}


def binds(tmp_path: Path, agent: AgentName, role: Role) -> Iterator[str]:
    """The paths inside that bubblewrap mounts for an agent, beside what the host itself has."""
    layout, folder = Layout(tmp_path / "STATE", tmp_path / "RUN"), tmp_path / "folder"
    folder.mkdir()
    settings = ContainerSettings(role, 700_000)
    launch = Launch(GenerationId("0" * 20), settings.fingerprint(), "n", 1.0)
    subject = Subject(agent, settings, launch, folder, tmp_path / "tree", "script")
    plain = sandbox.Host(bwrap="bwrap", setpriv="setpriv", root=True, system=())
    argv = enclose(layout, Config(), Host(True, plain), subject, ["true"]).argv
    closure = {str(path) for path in sandbox.python_closure()}
    for option, first, second in zip(argv, argv[1:], argv[2:], strict=False):
        if option in {"--tmpfs", "--proc", "--dev", "--dev-bind", "--overlay", "--file", "--bind-data"}:
            yield first
        elif second.startswith("/programs/"):  # what this host has of them
            yield "/programs"
        elif option.endswith("bind") and second not in closure:
            yield second


# sockets
@pytest.mark.parametrize("attribute", [name for name in dir(Layout) if name.endswith("_socket")])
def test_every_socket_of_the_layout_is_on_the_page(attribute: str) -> None:
    value = getattr(LAYOUT, attribute)
    paths = [value(ALICE), value(MANAGER)] if callable(value) else [value]
    assert {str(path).lstrip("/").replace("alice", "N") for path in paths} <= named("Sockets")


def test_the_sockets_of_settings_are_on_the_page() -> None:
    settings = {field.default for name, field in Config.model_fields.items() if name.endswith("socket")}
    assert settings
    assert settings <= named("Sockets")


def test_every_name_of_a_socket_in_the_code_is_one_of_the_layouts() -> None:
    texts = {
        node.value
        for tree in modules().values()
        for node in walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\S*\.sock", node.value)
    }
    on_page = {Path(word).name for word in named("Sockets")}
    assert {"N.sock" if text == ".sock" else Path(text).name for text in texts} <= on_page


def test_every_module_that_makes_a_socket_is_on_the_page() -> None:
    assert which(makes_a_socket) - named("Sockets") - NO_SOCKETS.keys() == set()


def test_every_module_that_uses_a_network_address_is_on_the_page() -> None:
    assert which(uses_a_network) == {word for word in named("Network") if word.endswith(".py")}


# mounts
@pytest.mark.parametrize(("agent", "role"), [(ALICE, Role.AGENT), (MANAGER, Role.MANAGER)])
def test_every_mount_of_a_sandbox_is_on_the_page(tmp_path: Path, agent: AgentName, role: Role) -> None:
    mounts = set(binds(tmp_path, agent, role))
    assert {"/state", "/tmp", "/proc"} <= mounts
    assert mounts - named("Mounts") == set()


@pytest.mark.parametrize(("agent", "role"), [(ALICE, "agent"), (MANAGER, "manager")])
def test_every_mount_of_a_container_is_on_the_page(agent: AgentName, role: str) -> None:
    inside = {bind.inside for bind in (*conf.binds(agent, role), conf.directory(agent, "proposed"))}
    assert {path.replace(f"/{agent}/", "/N/") for path in inside} - named("Mounts") == set()
    assert set(conf.HIDDEN) - named("Mounts") == set()


def test_what_a_sandbox_has_of_the_host_is_on_the_page() -> None:
    assert {*sandbox._SYSTEM, *sandbox._ETC} - named("Mounts") == set()


def test_every_sandbox_that_hive_runs_is_on_the_page_and_no_other() -> None:
    assert {word for word in named("Mounts") if word.endswith(".py")} == that(lambda node: _called(node) == "Sandbox")


# fetches
def test_every_repo_whose_branches_are_fetched_is_on_the_page() -> None:
    repos = {str(place(LAYOUT, ALICE).repo).lstrip("/").replace("alice", "N") for place in PLACES.values()}
    assert repos - {f"{word}{end}" for word in named("What hive fetches") for end in ("", "/.git")} == set()


def test_every_module_that_asks_for_a_fetch_is_on_the_page() -> None:
    assert that(lambda node: _called(node) == "FetchRequest") <= words(PAGE)


def test_upload_pack_runs_in_one_place() -> None:
    serving = that(lambda node: isinstance(node, ast.Constant) and node.value in ("upload-pack", "receive-pack"))
    assert serving == {"meta/proposed/quarantine/fetch.py"}


# parsers
def test_every_module_that_parses_is_on_the_page() -> None:
    own = words(PAGE.partition("Texts that only hive's own user writes")[2].partition("\n## ")[0])
    assert own & named("Parsers") == set()
    assert which(parses) - own - named("Parsers") - NO_PARSERS.keys() == set()


@pytest.mark.parametrize("text", EVASIONS)
def test_no_way_to_write_an_import_evades_the_page(text: str) -> None:
    tree = ast.parse(text)
    assert makes_a_socket(tree) or parses(tree) or uses_a_network(tree)


@pytest.mark.parametrize(
    "text", ["import json\njson.dumps(1)", "from json import dumps", "start_unix_server(f, sock=bound)"]
)
def test_what_only_writes_or_serves_what_was_bound_is_no_finding(text: str) -> None:
    tree = ast.parse(text)
    assert not (makes_a_socket(tree) or parses(tree) or uses_a_network(tree))


def test_each_exception_is_needed_and_has_a_reason() -> None:
    assert NO_SOCKETS.keys() - (which(makes_a_socket) - named("Sockets")) == set()
    assert NO_PARSERS.keys() - (which(parses) - named("Parsers")) == set()
    assert all({**NO_SOCKETS, **NO_PARSERS}.values())


# what the page says
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_each_row_names_its_bound_and_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 4
    assert row[2]
    tests = words(row[3])
    assert tests, "a row without a test proves nothing"
    assert [test for test in tests if test.partition("::")[2] not in _tests(test.partition("::")[0])] == []


@cache
def _tests(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_"))


@pytest.mark.parametrize("bound", sorted(set(BOUND.findall(PAGE))), ids=lambda bound: bound[0])
def test_each_bound_has_the_value_that_the_page_gives(bound: tuple[str, str, str]) -> None:
    name, number, unit = bound
    assert value_of(name) == int(number, 0) * UNITS[unit]


def test_each_name_of_a_constant_has_a_value() -> None:
    bounds = {name for name, _, _ in BOUND.findall(PAGE)}
    prose = re.compile(r"(?:api|harness|meta|reconciler)(?:\.\w+)+(?:\[\w+\])?|HIVE_[A-Z_]+")
    assert {word for row in ROWS for word in words(row[2]) if prose.fullmatch(word)} <= bounds


def test_every_section_has_rows_and_sockets_and_parsers_a_bound_each() -> None:
    assert [heading for heading in HEADINGS if not section(heading)] == []
    assert len(ROWS) > 50


def value_of(name: str) -> object:
    """A setting's default, a constant, the default of a dataclass' field or of a parameter; `NAME[key]` of a table."""
    if name.startswith("HIVE_"):
        return Config.model_fields[name.removeprefix("HIVE_").lower()].default
    path, _, key = name.rstrip("]").partition("[")
    module_name, constant = path.rsplit(".", 1)
    try:
        value = getattr(importlib.import_module(module_name), constant)
    except ModuleNotFoundError:
        module_name, class_name = module_name.rsplit(".", 1)
        value = _default(getattr(importlib.import_module(module_name), class_name), constant)
    return value[key] if key else value


def _default(owner: type, name: str) -> object:
    if is_dataclass(owner):
        return next(field.default for field in fields(owner) if field.name == name)
    return inspect.signature(owner).parameters[name].default

"""Every option does something outside of its module: an option that is accepted and not served fails here."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from meta.agent_toml.settings import parse_settings
from meta.config import Config, config_from_environment
from tests.nix.effects import AGENT, HOST, Effect
from tests.nix.evaluate import HERE, ROOT, Evaluator
from tests.nix.generate import LEFT_OUT

TABLES = {"host": ("services.hive", HOST), "agent": ("hive.agent", AGENT)}
EVERY_KEY = """
runtime = "claude"
command = ["c"]
model = "m"
label = "L"
description = "D"
prompt = "P"
recipients = ["bob"]
auto_propose = true
env = { EDITOR = "ed" }
[limits]
turn_seconds = 5
max_turns = 7
silence_seconds = 8
tool_seconds = 9
[permissions]
allow = ["Read"]
deny = ["Bash"]
[budget]
turns = 1
tokens = 2
dollars = 3.5
[scope]
allow = [{ target = "/state/work", permission = "write", recursive = false }]
deny = [{ target = "/state/work/x", permission = "write", recursive = false }]
[network]
allow = ["crates.io", "git.example.org:22", "@python"]
defaults = false
[[workspace]]
url = "https://git.example.org/tools.git"
branch = "main"
path = "tools"
[mcp_servers.files]
command = ["srv"]
env = { KEY = "v" }
[mcp_servers.wiki]
url = "https://mcp.example.org"
headers = { Accept = "text/plain" }
[start]
exit = 3
fault = "mute"
delay = 2
[[script]]
when = "a"
from = "operator"
reply = "r"
sleep = 1.5
crash = 5
answer = "yes"
ask = { to = "bob", question = "q", options = ["y"], multi = true }
send = { to = "bob", body = "hi" }
remind = { message = "m", seconds = 5 }
commit = { agent = "a", file = "f", content = "c", message = "m" }
request = { agent = "a", description = "d" }
"""
"""An agent.toml in which every key has a value that is not its default."""


def other(default: Any, field: dict[str, Any]) -> Any:
    """Return a value of a daemon's setting that is not its default."""
    words = {"^(off|idle|all)$": "all", "^(auto|console|journal|json)$": "json", "^(critical|high|normal|low)$": "low"}
    words |= {"^(script|claude|codex|gemini|opencode|claude-acp)$": "codex"}
    words |= {"^(required|unsafe-none)$": "unsafe-none", "^[A-Za-z0-9-]{0,60}$": "Remote-User"}
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return next((word for shape, word in words.items() if field.get("pattern") == shape), "22:00-07:00")
    return default + 1


FIELDS: dict[str, dict[str, Any]] = json.loads((ROOT / "nix/modules/host/settings.json").read_text(encoding="utf-8"))
OTHERS = {key: other(field["default"], field) for key, field in FIELDS.items() if key != "notify_file"}
"""A value for each of the daemon's settings, but for the one that is loaded as a credential (test_credentials.py)."""


def modules(prefix: str, option: str, effect: Effect) -> str:
    """Return the two modules of a row, in Nix."""
    line = f"{prefix}.{option} = {effect.value};".replace("<name>", "alice")
    return f"[ {{ {effect.beside} }} ({{ lib, ... }}: {{ {effect.beside} {line} }}) ]"


@pytest.fixture(scope="module")
def found(nix: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every row without and with its option, in one evaluation."""
    folder = tmp_path_factory.mktemp("effects")
    (folder / "agent.toml").write_bytes((ROOT / "meta/templates/agent/agent.toml").read_bytes())
    (folder / "every.toml").write_text(EVERY_KEY, encoding="utf-8")
    parts = []
    for side, (prefix, table) in TABLES.items():
        rows = [f'"{option}" = {modules(prefix, option, effect)};' for option, effect in table.items()]
        parts.append(f"{side} = {{ {' '.join(rows)} ALL }};")
    unread = 'model = "m"; prompt = "p"; mcp_servers.a.command = [ "x" ]; limits.max_turns = 3;'
    unread += 'env.A = "x"; permissions.deny = [ "x" ];'
    every = f"idle = [ {{ hive.agent.settings = {{ {unread} }}; }} ];"
    every += "every = [ { hive.agent.settings = builtins.fromTOML (builtins.readFile ./every.toml); } ];"
    settings = f"every = [ {{ services.hive.settings = builtins.fromJSON ''{json.dumps(OTHERS)}''; }} ];"
    text = parts[0].replace("ALL", settings) + parts[1].replace("ALL", every)
    (folder / "rows.nix").write_text(f"pkgs: {{ {text} }}", encoding="utf-8")
    return nix.json(HERE / "effects.nix", rows=str(folder / "rows.nix"))


@pytest.mark.parametrize(
    ("side", "option"), [(side, option) for side, (_, table) in TABLES.items() for option in table]
)
def test_an_option_changes_something_outside_of_its_module(found: Any, side: str, option: str) -> None:
    effect = TABLES[side][1][option]
    without, given = found[side][option]
    if effect.text is None:
        assert effect.place in without
        assert effect.place not in given
    else:
        assert effect.text in given[effect.place]
        assert effect.text not in without.get(effect.place, "")


def test_every_option_has_a_row(nix: Evaluator) -> None:
    names = {side: [option["name"] for option in options] for side, options in nix.json(HERE / "options.nix").items()}
    for side, (prefix, table) in TABLES.items():
        keys = (f"{prefix}.settings.", f"{prefix}.agents.<name>.settings.")
        own = {name for name in names[side] if not name.startswith(keys)}
        assert own == {f"{prefix}.{option}" for option in table}, "give the option a row in tests/nix/effects.py"


def test_the_daemon_reads_every_setting_as_it_was_given(found: Any) -> None:
    text = found["host"]["every"][0]["etc hive/daemon.env"]
    config = config_from_environment(dict(word.split("=", 1) for word in shlex.split(text)))
    assert {key: getattr(config, key) for key in OTHERS} == OTHERS
    assert {key for key in OTHERS if getattr(Config(), key) == OTHERS[key]} == set()


def test_the_settings_that_the_module_decides_itself_are_no_options() -> None:
    assert Config.model_fields.keys() - FIELDS.keys() == LEFT_OUT.keys()


@pytest.mark.parametrize("setting", FIELDS)
def test_the_daemon_does_something_with_a_setting(setting: str) -> None:
    assert setting in reads()


@cache
def reads() -> frozenset[str]:
    """Return the attributes that hive's code reads from a configuration, or from what is named after one."""
    files = [path for package in ("api", "reconciler", "meta") for path in (ROOT / package).rglob("*.py")]
    texts = [path.read_text(encoding="utf-8") for path in files if path != ROOT / "meta/config.py"]
    return frozenset(name for text in texts for name in re.findall(r"(?:config|settings)\.([a-z_]+)", text))


def test_every_key_of_agent_toml_reaches_the_harnesss_file(nix: Evaluator, found: Any) -> None:
    written = found["agent"]["every"][0]["etc hive/agent.toml"]
    assert parse_settings(written.encode())
    reached = set(keys("hive.agent.settings", tomllib.loads(written)))
    options = {option["name"] for option in nix.json(HERE / "options.nix")["agent"]}
    assert {name for name in options if name.startswith("hive.agent.settings.")} <= reached


def keys(prefix: str, value: Any) -> Iterator[str]:
    """Yield the names that the options have of every key below a value of agent.toml."""
    below = value.items() if isinstance(value, dict) else ()
    for key, inner in below:
        path = f"{prefix}.<name>" if prefix.endswith("mcp_servers") else f"{prefix}.{key}"
        yield path
        items = inner if isinstance(inner, list) else [inner]
        for item in items:
            yield from keys(f"{path}.*" if isinstance(inner, list) else path, item)


def test_what_no_runtime_of_this_hive_reads_is_warned_of(found: Any) -> None:
    assert found["agent"]["file"][1]["warnings"] == "[]"
    (warning,) = json.loads(found["agent"]["idle"][0]["warnings"])
    for key in ("model", "prompt", "mcp_servers", "limits.max_turns", "env", "permissions.deny"):
        assert f"hive.agent.settings.{key}" in warning

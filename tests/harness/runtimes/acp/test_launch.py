"""The words, the environment and the files by which each preset is started."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.runtimes.acp.launch import Launch, launch_of
from harness.runtimes.acp.table import PRESETS
from harness.runtimes.base import DUMMY, Access
from meta.errors import BadInput

if TYPE_CHECKING:
    from tests.harness.runtimes.acp.conftest import Stage

URL = "http://127.0.0.1:9"
STAND_IN = Access(root=URL)


def launch(stage: Stage, name: str, model: str | None = None, access: Access = STAND_IN, **settings: Any) -> Launch:
    spec = stage.spec(name, prompt="You are alice.", **settings)
    enclosure = replace(spec.enclosure, access=lambda: access)
    return launch_of(PRESETS[name], replace(spec, enclosure=enclosure), model)


def test_codex_gets_the_model_and_a_provider_at_hives_url(stage: Stage) -> None:
    how = launch(stage, "codex", "m")
    config = json.loads(how.env["CODEX_CONFIG"])
    assert (how.argv, config["model"], config["model_provider"]) == (("codex-acp",), "m", "hive")
    assert config["model_providers"]["hive"]["base_url"] == f"{URL}/v1"


def test_gemini_gets_its_words_and_a_policy_in_which_a_denial_wins_and_the_rest_is_asked_about(stage: Stage) -> None:
    plain = launch(stage, "gemini")
    assert (plain.argv, plain.files, "GEMINI_MODEL" in plain.env) == (("gemini", "--acp"), {}, False)
    how = launch(stage, "gemini", permissions={"deny": ["glob"], "allow": ["read_file", "run_shell_command(git *)"]})
    [(path, text)] = how.files.items()
    assert how.argv == ("gemini", "--acp", "--policy", str(path))
    rules = sorted(tomllib.loads(text)["rule"], key=lambda rule: -rule["priority"])
    assert [(rule["toolName"], rule.get("commandPrefix"), rule["decision"]) for rule in rules] == [
        ("glob", None, "deny"),
        ("read_file", None, "allow"),
        ("run_shell_command", "git", "allow"),
        ("*", None, "ask_user"),
    ]


def test_opencode_gets_its_prompt_as_a_file_and_keeps_the_configuration_of_agent_toml(stage: Stage) -> None:
    given = {"provider": {"p": {"options": {"apiKey": "k"}}}, "permission": {"edit": "ask"}}
    env = {"OPENCODE_CONFIG_CONTENT": json.dumps(given)}
    how = launch(stage, "opencode", "p/m", env=env, permissions={"deny": ["bash"]})
    config = json.loads(how.env["OPENCODE_CONFIG_CONTENT"])
    [(path, text)] = how.files.items()
    assert (config["model"], config["instructions"], text) == ("p/m", [str(path)], "You are alice.")
    assert config["provider"]["p"]["options"] == {"apiKey": "k", "baseURL": f"{URL}/v1"}
    assert config["permission"] == {"edit": "ask", "bash": "deny", "hive_*": "allow", "pods_*": "allow"}


def test_the_adapter_of_claude_gets_its_rules_with_the_session(stage: Stage) -> None:
    how = launch(stage, "claude-acp", "haiku", permissions={"deny": ["WebFetch"]})
    assert how.session == {"_meta": {"claudeCode": {"options": {"disallowedTools": ["WebFetch"]}}}}
    assert (how.env["ANTHROPIC_MODEL"], how.env["ANTHROPIC_BASE_URL"]) == ("haiku", URL)


def test_what_is_allowed_is_given_to_the_agent_with_hives_tools_and_the_rest_refused(stage: Stage) -> None:
    rules = {"allow": ["read"], "deny": ["bash"]}
    opencode = json.loads(launch(stage, "opencode", "p/m", permissions=rules).env["OPENCODE_CONFIG_CONTENT"])
    # the last rule that fits counts
    allowed = [(name, "allow") for name in ("read", "grep", "glob", "list", "lsp")]
    order = [("*", "deny"), *allowed, ("bash", "deny"), ("hive_*", "allow"), ("pods_*", "allow")]
    assert list(opencode["permission"].items()) == order
    assert list(opencode["agent"]["build"]["permission"].items()) == order
    claude = launch(stage, "claude-acp", permissions=rules).session["_meta"]["claudeCode"]["options"]
    own = ["mcp__hive", "mcp__pods"]
    assert claude == {"allowedTools": ["Read", "Glob", "Grep", *own], "disallowedTools": ["Bash"]}


def test_codex_does_not_ask_its_model_for_a_next_message_that_nobody_wants(stage: Stage) -> None:
    assert launch(stage, "codex").env["CODEX_ACP_PROMPT_SUGGESTIONS"] == "false"


def test_a_variable_of_agent_toml_comes_before_that_of_the_preset(stage: Stage) -> None:
    assert launch(stage, "codex", env={"INITIAL_AGENT_MODE": "read-only"}).env["INITIAL_AGENT_MODE"] == "read-only"


@pytest.mark.parametrize("text", ["{", "[]", "5"])
def test_a_variable_that_is_no_json_is_named(stage: Stage, text: str) -> None:
    with pytest.raises(BadInput, match=r"env\.CODEX_CONFIG in agent\.toml is not a JSON object"):
        launch(stage, "codex", "m", env={"CODEX_CONFIG": text})


def policy(stage: Stage, **permissions: list[str]) -> list[tuple[str, str]]:
    [text] = launch(stage, "gemini", permissions=permissions).files.values()
    return [(rule["toolName"], rule["decision"]) for rule in tomllib.loads(text)["rule"]]


@pytest.mark.parametrize("word", ["execute", "Execute", "run_*"])
def test_a_kind_and_a_wildcard_become_the_names_of_geminis_tools(stage: Stage, word: str) -> None:
    assert policy(stage, deny=[word]) == [("run_shell_command", "deny")]


def test_what_denies_all_of_gemini_leaves_hives_tools(stage: Stage) -> None:
    denied = {name for name, _ in policy(stage, deny=["*"])}
    assert {"run_shell_command", "replace", "read_file"} <= denied
    assert not any("*" in name or "hive" in name for name in denied)


def test_a_list_of_what_is_allowed_that_gemini_does_not_understand_allows_nothing(stage: Stage) -> None:
    assert policy(stage, allow=["read_file(x)"]) == [("*", "ask_user")]


def test_a_denial_wins_over_a_wider_allowance_with_opencode(stage: Stage) -> None:
    rules = {"allow": ["bash", "b*"], "deny": ["Bash"]}
    config = json.loads(launch(stage, "opencode", "p/m", permissions=rules).env["OPENCODE_CONFIG_CONTENT"])
    for table in (config["permission"], config["agent"]["build"]["permission"]):
        assert list(table.items())[-3:-1] == [("bash", "deny"), ("hive_*", "allow")]


def test_with_rules_opencode_does_not_read_the_configuration_of_its_working_directory(stage: Stage) -> None:
    how = launch(stage, "opencode", "p/m", permissions={"deny": ["bash"]})
    assert (how.env["OPENCODE_DISABLE_PROJECT_CONFIG"], how.env["OPENCODE_PURE"]) == ("true", "true")
    assert json.loads(how.env["OPENCODE_CONFIG_CONTENT"])["default_agent"] == "build"
    assert "OPENCODE_DISABLE_PROJECT_CONFIG" not in launch(stage, "opencode", "p/m").env


KEYS = Access(
    routes={kind: f"{URL}/{kind}" for kind in ("anthropic", "openai", "gemini")}, env={"GIT_CONFIG_COUNT": "0"}
)


def test_with_a_key_outside_each_agent_gets_its_route_and_a_dummy(stage: Stage) -> None:
    codex = launch(stage, "codex", "m", KEYS).env
    provider = json.loads(codex["CODEX_CONFIG"])["model_providers"]["hive"]
    assert provider["base_url"] == f"{URL}/openai/v1"
    assert (provider["env_key"], provider["requires_openai_auth"], codex["OPENAI_API_KEY"]) == (
        "OPENAI_API_KEY",
        False,
        DUMMY,
    )
    gemini = launch(stage, "gemini", None, KEYS).env
    assert (gemini["GOOGLE_GEMINI_BASE_URL"], gemini["GEMINI_API_KEY"]) == (f"{URL}/gemini", DUMMY)
    claude = launch(stage, "claude-acp", None, KEYS).env
    assert (claude["ANTHROPIC_BASE_URL"], claude["ANTHROPIC_API_KEY"]) == (f"{URL}/anthropic", DUMMY)
    token = launch(stage, "claude-acp", None, Access(routes={"anthropic-token": URL})).env
    assert (token["CLAUDE_CODE_OAUTH_TOKEN"], "ANTHROPIC_API_KEY" in token) == (DUMMY, False)
    assert claude["GIT_CONFIG_COUNT"] == "0"


@pytest.mark.parametrize(
    ("model", "url"),
    [("anthropic/m", "/anthropic/v1"), ("openai/m", "/openai/v1"), ("google/m", "/gemini/v1beta"), ("own/m", None)],
)
def test_opencode_gets_the_key_of_its_models_vendor(stage: Stage, model: str, url: str | None) -> None:
    config = json.loads(launch(stage, "opencode", model, KEYS).env["OPENCODE_CONFIG_CONTENT"])
    provider = model.split("/")[0]
    wanted = {provider: {"options": {"baseURL": f"{URL}{url}", "apiKey": DUMMY}}} if url else None
    assert config.get("provider") == wanted


def test_without_a_route_an_agent_asks_its_vendor_and_has_a_login(stage: Stage) -> None:
    how = launch(stage, "codex", "m", Access())
    assert "model_provider" not in json.loads(how.env["CODEX_CONFIG"])
    assert "OPENAI_API_KEY" not in how.env

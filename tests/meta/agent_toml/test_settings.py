"""agent.toml: what it may say, and errors that name the key."""

from __future__ import annotations

import time

import pytest

from meta.agent_toml.runtimes import runtime_name
from meta.agent_toml.script import Commit, Crash, Reply, Request, ScriptRule, Send, Sleep, compile_pattern, fill
from meta.agent_toml.settings import AgentSettings, flatten, parse_settings
from meta.agent_toml.shape import MAX_BYTES
from meta.agent_toml.values import credentials_in, fill_headers, fill_prompt
from meta.errors import BadInput

FULL = b"""
runtime = "claude"
model = "opus"
label = "Alice"
description = "writes"
prompt = '''be
brief'''
recipients = ["operator", "bob"]
limits = { turn_seconds = 90, max_turns = 12, silence_seconds = 30, tool_seconds = 60 }
command = ["/opt/claude", "--verbose"]
env = { EDITOR = "true", http_cache = "" }
permissions = { allow = ["Bash(git *)"], deny = ["WebFetch"] }
budget = { turns = 50, tokens = 1_000_000, dollars = 2.5 }

[mcp_servers.matrix]
command = ["matrix-mcp", "--room", "x"]
env = { ROOM = "a" }

[mcp_servers.wiki]
url = "https://mcp.example.org/mcp"
headers = { Authorization = "Bearer ${wiki-token}", Accept = "text/plain" }

[[script]]
when = "do (?P<what>.*)"
from = "operator"
sleep = 0.5
reply = "doing {what}"
commit = { agent = "bob", file = "a/b", content = "{what} {{what}}", message = "m" }
request = { agent = "bob" }
send = { to = "bob", body = "{commit} {sender} {self} {body}" }
crash = 3

[start]
exit = 7
fault = "hello-then-exit"
delay = 0.25
"""


_WORDS_65 = "'a'," * 65


def test_every_key_is_read() -> None:
    settings = parse_settings(FULL)
    assert (settings.runtime, settings.model, settings.label, settings.prompt) == (
        "claude",
        "opus",
        "Alice",
        "be\nbrief",
    )
    assert settings.limits.turn_seconds == 90
    assert settings.limits.max_turns == 12
    assert settings.mcp_servers["matrix"].command == ["matrix-mcp", "--room", "x"]
    assert settings.mcp_servers["matrix"].env == {"ROOM": "a"}
    assert settings.mcp_servers["wiki"].headers["Authorization"] == "Bearer ${wiki-token}"
    assert (settings.limits.silence_seconds, settings.limits.tool_seconds) == (30, 60)
    assert (settings.command, settings.env["EDITOR"]) == (["/opt/claude", "--verbose"], "true")
    assert (settings.permissions.allow, settings.permissions.deny) == (["Bash(git *)"], ["WebFetch"])
    assert (settings.budget.turns, settings.budget.tokens, settings.budget.dollars) == (50, 1_000_000, 2.5)
    assert (settings.start.exit, settings.start.fault, settings.start.delay) == (7, "hello-then-exit", 0.25)
    assert settings.script[0].actions == (
        Sleep(0.5),
        Reply("doing {what}"),
        Commit(agent="bob", file="a/b", content="{what} {{what}}", message="m"),
        Request(agent="bob"),
        Send(to="bob", body="{commit} {sender} {self} {body}"),
        Crash(3),
    )


def test_an_empty_file_gives_the_defaults() -> None:
    assert parse_settings(b"") == AgentSettings()
    assert parse_settings(b"").runtime == "script"


def test_actions_are_done_in_the_order_of_the_file() -> None:
    def actions(text: str) -> tuple[object, ...]:
        return parse_settings(f"[[script]]\n{text}".encode()).script[0].actions

    assert actions('reply = "a"\nsleep = 1') == (Reply("a"), Sleep(1))
    assert actions('sleep = 1\nreply = "a"') == (Sleep(1), Reply("a"))
    assert actions("crash = true") == (Crash(None),)
    assert actions("crash = 1") == (Crash(1),)
    assert actions("crash = false") == ()


def test_whom_an_agent_may_write_to_is_a_list_of_names() -> None:
    assert parse_settings(b"").may_write_to("anybody")
    settings = parse_settings(b'recipients = ["operator", "bob"]')
    assert settings.may_write_to("bob")
    assert not settings.may_write_to("carol")
    assert not parse_settings(b"recipients = []").may_write_to("operator")


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ('limits.turn_seconds = "x"', 'limits.turn_seconds: must be a number, not "x"'),
        ("limits.turn_seconds = true", "limits.turn_seconds: must be a number, not true"),
        ("limits.turn_seconds = 0", "limits.turn_seconds: must be more than 0, not 0"),
        ("limits.turn_seconds = nan", "limits.turn_seconds: must be a finite number"),
        ("limits.max_turns = 1.5", "limits.max_turns: must be a whole number, not 1.5"),
        ('limits.max_turns = "3"', 'limits.max_turns: must be a whole number, not "3"'),
        ("limits = 3", "limits: must be a table, not 3"),
        ('limits.turn_second = "x"', "limits.turn_second: unknown key, did you mean 'turn_seconds'?"),
        ('runtme = "script"', "runtme: unknown key, did you mean 'runtime'?"),
        ("zzz = 1", "zzz: unknown key"),
        ('runtime = "bash"', "runtime: must be 'script', 'claude', 'codex', 'gemini', 'opencode'"),
        ('model = ""', "model: must not be empty"),
        ("prompt = 1979-01-01", "prompt: must be text"),
        ('recipients = "bob"', 'recipients: must be a list, not "bob"'),
        ('recipients = ["Bob"]', "recipients: 'Bob' is no agent name"),
        ("mcp_servers.x = {}", 'mcp_servers.x: needs one of command = ["..."]'),
        ("mcp_servers.x.command = []", "mcp_servers.x.command: must not be empty"),
        ('mcp_servers.x = { command = ["a"], evn = {} }', "mcp_servers.x.evn: unknown key, did you mean 'env'?"),
        ('mcp_servers.x = { command = ["a"], env.A = 1 }', "mcp_servers.x.env.A: must be text, not 1"),
        ('mcp_servers."a b".command = ["a"]', "mcp_servers: 'a b' is not a name for a server"),
        ('mcp_servers.hive.command = ["a"]', "mcp_servers: 'hive' is not a name for a server"),
        ('mcp_servers.Pods_2.command = ["a"]', "mcp_servers: 'Pods_2' is not a name for a server"),
        ('runtime = "acp"', 'command: is missing; runtime = "acp" has no CLI of its own'),
        ('command = ["x"]', 'command: runtime = "script" starts no CLI'),
        ('runtime = "claude"\ncommand = []', "command: must not be empty"),
        ('runtime = "claude"\ncommand = [" "]', "command: the first word is the program, and it is empty"),
        ('runtime = "claude"\ncommand = ["a", "b\\n"]', "command: a word of it: a line end, a tab, a control"),
        (f"runtime = 'acp'\ncommand = [{_WORDS_65}]", "command: has 65 words"),
        ('model = "-x"', "model: '-x' is not the name of a model"),
        ('model = "a b"', "model: 'a b' is not the name of a model"),
        (f'model = "{"x" * 201}"', "model: 'xxx"),
        ('prompt = "{who}"', "prompt: {who} is not a placeholder ({self}, {label}, {description}, {role})"),
        ("env = { A-B = 'x' }", "env: 'A-B' is not the name of a variable"),
        ("env = { HIVE_AGENT = 'x' }", "env: HIVE_AGENT: hive or the container sets it"),
        ("env = { LD_PRELOAD = 'x' }", "env: LD_PRELOAD: hive or the container sets it"),
        ("env = { PATH = 'x' }", "env: PATH: hive or the container sets it"),
        ("env = { https_proxy = 'x' }", "env: https_proxy: hive or the container sets it"),
        ("env = { NODE_USE_ENV_PROXY = '0' }", "env: NODE_USE_ENV_PROXY: hive or the container sets it"),
        ("env = { GIT_SSH_COMMAND = 'x' }", "env: GIT_SSH_COMMAND: hive or the container sets it"),
        ("env = { GIT_CONFIG_KEY_0 = 'x' }", "env: GIT_CONFIG_KEY_0: hive or the container sets it"),
        ("env = { CLAUDE_CONFIG_DIR = 'x' }", "env: CLAUDE_CONFIG_DIR: hive or the container sets it"),
        ("env = { ANTHROPIC_BASE_URL = 'x' }", "env: ANTHROPIC_BASE_URL: hive or the container sets it"),
        ("env = { ANTHROPIC_API_KEY = 'x' }", "env: ANTHROPIC_API_KEY: a secret does not belong here"),
        ("env = { GH_TOKEN = 'x' }", "env: GH_TOKEN: a secret does not belong here"),
        ("env = { A_KEY = 'x' }", "env: A_KEY: a secret does not belong here"),
        ("env = { A = 'sk-ant-abcdefgh' }", "env: A: a secret does not belong here"),
        ('env = { A = "\\u200b" }', "env: A: a control or invisible character is in it"),
        (f"env = {{ A = '{'x' * 4097}' }}", "env: A: 4097 characters are too long, the limit is 4096"),
        ("permissions = { allow = [''] }", "permissions.allow: a rule is empty"),
        ("permissions = { deny = ['a\tb'] }", "permissions.deny: a rule: a line end, a tab, a control"),
        (f"permissions = {{ deny = ['{'x' * 501}'] }}", "permissions.deny: a rule has 501 characters"),
        ("permissions.ask = []", "permissions.ask: unknown key"),
        ("budget.dollars = inf", "budget.dollars: must be a finite number"),
        ("budget.dollars = 0", "budget.dollars: must be more than 0, not 0"),
        ("budget.turns = 1.5", "budget.turns: must be a whole number, not 1.5"),
        ("budget.token = 1", "budget.token: unknown key, did you mean 'tokens'?"),
        ("limits.silence_seconds = 0", "limits.silence_seconds: must be more than 0, not 0"),
        ("mcp_servers.x = { command = ['a'], url = 'https://a.b' }", "mcp_servers.x: has command and url"),
        ("mcp_servers.x = { url = 'https://a.b', env.A = '' }", "mcp_servers.x: env is for a program"),
        ("mcp_servers.x = { command = ['a'], headers.A = '' }", "mcp_servers.x: headers are for a url"),
        ("mcp_servers.x.url = 'ftp://a.b'", "mcp_servers.x.url: 'ftp://a.b' is not a URL like https://"),
        ("mcp_servers.x.url = 'https://me:pw@a.b'", "mcp_servers.x.url: 'https://me:pw@a.b' is not a URL"),
        ("mcp_servers.x.url = 'https://a.b:99999'", "mcp_servers.x.url: 'https://a.b:99999' is not a URL"),
        ("mcp_servers.x.url = 'http://a.b'", "mcp_servers.x.url: 'http://a.b': http is for loopback only"),
        ("mcp_servers.x.url = 'https://169.254.169.254'", "mcp_servers.x.url: '169.254.169.254' is not a public"),
        ("mcp_servers.x.url = 'https://[::ffff:10.0.0.1]'", "mcp_servers.x.url: '::ffff:10.0.0.1' is not a public"),
        ("mcp_servers.x.url = 'https://0x7f000001/'", "mcp_servers.x.url: '0x7f000001' is neither a name"),
        ("mcp_servers.x = { url = 'https://a.b', headers.'A B' = '' }", "mcp_servers.x.headers: 'A B' is not the name"),
        ("mcp_servers.x = { url = 'https://a.b', headers.A = \"a\\r\" }", "mcp_servers.x.headers: A: a line end"),
        (
            "mcp_servers.x = { url = 'https://a.b', headers.X-Api-Key = 'abc' }",
            "mcp_servers.x.headers: X-Api-Key: a secret does not belong here",
        ),
        ("mcp_servers.x = { url = 'https://a.b', headers.A = '${x' }", "mcp_servers.x.headers: A: after ${ comes"),
        (
            "".join(f"mcp_servers.s{i}.command=['a']\n" for i in range(65)),
            "mcp_servers: has 65 servers, the limit is 64",
        ),
        ("script = [1]", "script[0]: must be a table, not 1"),
        ("[[script]]\n" * 65, "script: must have at most 64 entries"),
        (f'[[script]]\nwhen = "{"x" * 501}"', "script[0].when: must have at most 500 characters"),
        (f'[[script]]\nfrom = "{"x" * 501}"', "script[0].from: must have at most 500 characters"),
        ('[[script]]\nform = "a"', "script[0].form: unknown key, did you mean 'from'?"),
        ('[[script]]\nsender = "a"', "script[0].sender: unknown key"),
        ('[[script]]\nreply = "{who}"', "script[0]: reply: {who} is not a group of `when`"),
        ('[[script]]\nsend = { to = "{who}", body = "" }', "script[0]: send.to: {who} is not a group of `when`"),
        ('[[script]]\nsend = { to = 1, body = "" }', "script[0].send.to: must be text, not 1"),
        ('[[script]]\nanswer = "{who}"', "script[0]: answer: {who} is not a group of `when`"),
        (
            '[[script]]\nask = { to = "a", question = "q", options = ["{who}"] }',
            "script[0]: ask.options: {who} is not a group of `when`",
        ),
        ('[[script]]\nask = { to = "a", qestion = "q" }', "script[0].ask.question: is missing"),
        (
            '[[script]]\nremind = { message = "m", seconds = -1 }',
            "script[0].remind.seconds: must be at least 0, not -1",
        ),
        ('[[script]]\ncommit = { agent = "a" }', "script[0].commit.file: is missing"),
        ("[[script]]\ncrash = 300", "script[0].crash: must be true or an exit code from 0 to 255, not 300"),
        ('[[script]]\ncrash = "x"', "script[0].crash: must be true or an exit code from 0 to 255"),
        ("[[script]]\nsleep = -1", "script[0].sleep: must be at least 0, not -1"),
        ("start.exit = 256", "start.exit: must be at most 255, not 256"),
        ('start.fault = "lazy"', "start.fault: must be 'never-hello', 'mute', 'old-generation'"),
        ("x = ", "not TOML: Invalid value"),
        ("x = 1\nx = 2\n", "not TOML: Cannot overwrite a value (at line 2"),
        ("x = " + "[" * 5000, "not TOML"),
        ("x = " + "1" * 5000, "not TOML"),
    ],
    ids=lambda value: value[:50],
)
def test_a_mistake_is_named_with_its_key_and_a_remedy(text: str, summary: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_settings(text.encode(), "alice's agent.toml")
    assert caught.value.summary.startswith(f"alice's agent.toml: {summary}")
    assert caught.value.hint


def test_an_unknown_key_comes_with_the_ones_that_are_known() -> None:
    with pytest.raises(BadInput) as caught:
        parse_settings(b"start.zzz = 1")
    assert caught.value.hint == "known in [start]: exit, fault, delay"


def test_a_file_that_is_no_text_or_too_long_is_refused() -> None:
    with pytest.raises(BadInput, match="not UTF-8 at byte 9"):
        parse_settings(b'label = "\xff"')
    with pytest.raises(BadInput, match="too long"):
        parse_settings(b"#" * (MAX_BYTES + 1))


def test_a_long_wrong_value_is_shown_in_part() -> None:
    with pytest.raises(BadInput) as caught:
        parse_settings(f'runtime = "{"x" * 5000}"'.encode())
    assert len(caught.value.summary) < 200


def test_flat_settings_show_what_changed() -> None:
    before, after = flatten(parse_settings(b"")), flatten(parse_settings(FULL))
    assert before["limits.turn_seconds"] == "3600"
    assert "model" not in before
    changed = {key: after[key] for key in after if before.get(key) != after[key]}
    assert changed["limits.turn_seconds"] == "90"
    assert changed["recipients"] == '["operator", "bob"]'
    assert changed["mcp_servers.matrix.command"] == '["matrix-mcp", "--room", "x"]'
    assert changed["script[0].send.to"] == "bob"
    assert changed["script[0] order"] == "sleep, reply, commit, request, send, crash"
    assert all(isinstance(value, str) for value in after.values())


def test_a_changed_order_of_actions_shows() -> None:
    texts = (b'[[script]]\nreply = "a"\nsleep = 1', b'[[script]]\nsleep = 1\nreply = "a"')
    assert flatten(parse_settings(texts[0])) != flatten(parse_settings(texts[1]))


def test_placeholders_are_filled_once_and_only_once() -> None:
    values = {"what": "{sender}", "sender": "bob"}
    assert fill("{what} {{what}} {gone} { what } {1}", values) == "{sender} {what}  { what } {1}"


def test_a_pattern_covers_line_ends() -> None:
    assert compile_pattern(ScriptRule().when).fullmatch("two\nlines")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/mcp?x=1", "http://[::1]/", "http://localhost", "https://1.1.1.1"]
)
def test_a_server_is_on_loopback_or_public(url: str) -> None:
    assert parse_settings(f"mcp_servers.x.url = '{url}'".encode()).mcp_servers["x"].url == url


def test_variables_that_only_look_like_secrets_are_taken() -> None:
    text = b"env = { MAX_THINKING_TOKENS = '9', GH_TOKEN_FILE = '/run/x', KEY = 'v', npm_config_cache = '/tmp' }"
    assert len(parse_settings(text).env) == 4


@pytest.mark.parametrize("name", ["GOFLAGS", "NODE_OPTIONS", "PYTHONPATH", "MY_PATH", "HOMEDIR", "CLAUDE_CODE_EFFORT"])
def test_other_variables_are_the_agents_own(name: str) -> None:
    assert parse_settings(f"env.{name} = 'x'".encode()).env == {name: "x"}


def test_a_header_gets_its_credential_and_names_one_that_is_not_there() -> None:
    headers = {"Authorization": "Bearer ${wiki-token}", "Accept": "text/plain"}
    assert credentials_in(headers) == {"wiki-token"}
    assert fill_headers(headers, {"wiki-token": "${s}"})["Authorization"] == "Bearer ${s}"
    with pytest.raises(KeyError, match="wiki-token"):
        fill_headers(headers, {})


def test_a_prompt_is_filled_once_and_braces_stand_for_themselves() -> None:
    prompt = 'I am {self}; {{label}} and {"json": 1} stay'
    assert parse_settings(f"prompt = '{prompt}'".encode()).prompt == prompt
    assert fill_prompt(prompt, {"self": "{label}"}) == 'I am {label}; {label} and {"json": 1} stay'


def test_a_runtime_that_hive_does_not_have_is_refused_with_those_that_it_has() -> None:
    assert runtime_name("codex") == "codex"
    with pytest.raises(BadInput, match="'cladue' is not a runtime, did you mean 'claude'") as caught:
        runtime_name("cladue")
    assert "script, claude, codex, gemini, opencode, claude-acp, acp" in caught.value.hint


def test_hostile_values_are_judged_at_once() -> None:
    text = "[env]\n" + "\n".join(f"A{'_A' * 60}{i} = '{'{a' * 1900}'" for i in range(60))
    prompt = "{a" * 32_000
    started = time.process_time()
    parse_settings(text.encode())
    parse_settings(f"prompt = '{prompt}'".encode())
    assert time.process_time() - started < 1

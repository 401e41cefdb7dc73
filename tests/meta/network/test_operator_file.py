"""The operator's file: each key, and each fault with the key that has it."""

from __future__ import annotations

import pytest

from meta.errors import BadInput
from meta.network.credentials import KEYS as OF_A_KEY
from meta.network.operator_file import FILE_LIMIT, KEYS, LIMITS, OperatorFile, ceiling_of, parse_operator_file
from meta.network.routes import KINDS
from meta.network.rule import parse_rule

ALL = b"""
private = ["registry.corp:443", "192.168.1.5:8080", "[fd00::1]:22"]
[hosts]
"Registry.corp." = "10.1.2.3"
[groups]
python = ["pypi.org", "files.pythonhosted.org"]
none = []
[limits]
connections = 10
bytes_per_second = 2000
idle_seconds = 900
[credentials.anthropic]
file = "/etc/hive/anthropic-key"
[credentials.forge]
kind = "git"
file = "/etc/hive/forge"
upstream = "https://Git.example.org:8443/"
header = "Authorization"
value = "Basic {key}"
user = "hive"
agents = ["alice", "*"]
paths = ["GET /team/", "POST /team/"]
"""


def test_every_key_is_read() -> None:
    file = parse_operator_file(ALL)
    assert [rule.text for rule in file.private] == ["registry.corp:443", "192.168.1.5:8080", "[fd00::1]:22"]
    assert file.hosts == {"registry.corp": "10.1.2.3"}
    assert file.groups == {"python": (parse_rule("pypi.org"), parse_rule("files.pythonhosted.org")), "none": ()}
    assert (file.connections, file.bytes_per_second, file.idle_seconds) == (10, 2000, 900.0)
    forge = file.routes["forge"]
    assert (forge.upstream, forge.header, forge.user) == ("https://git.example.org:8443", "authorization", "hive")
    assert forge.paths == (("GET", "/team/"), ("POST", "/team/")) and forge.serves("bob")


def test_the_example_above_has_every_key_that_there_is() -> None:
    text = ALL.decode()
    assert all(f"{key} = " in text or f"[{key}" in text for key in (*KEYS, *LIMITS, *OF_A_KEY))


def test_a_key_has_the_defaults_of_its_kind_which_is_its_name() -> None:
    route = parse_operator_file(ALL).routes["anthropic"]
    form = KINDS["anthropic"]
    assert (route.kind, route.upstream, route.header, route.value) == (
        "anthropic",
        form.upstream,
        form.header,
        form.value,
    )
    assert route.paths == form.paths and route.serves("anyone")


def test_an_empty_file_has_the_defaults() -> None:
    assert parse_operator_file(b"") == OperatorFile()


def credential(line: str, kind: str = "anthropic") -> str:
    return f'[credentials.key]\nkind = "{kind}"\nfile = "/k"\n{line}'


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("more = 1", "more: unknown key; there are private, hosts"),
        ("private = 1", "private: must be a list of texts"),
        ("private = [1]", "private: must be a list of texts"),
        ('private = ["registry.corp"]', "private: 'registry.corp' must name one host and one port"),
        ('private = ["registry.corp:*"]', "private: 'registry.corp:*' must name one"),
        ('private = ["*.corp:443"]', "private: '*.corp:443' must name one"),
        ('private = ["*:443"]', "private: '*:443' must name one"),
        ('private = ["[fd00::1]"]', "private: '[fd00::1]' must name one"),
        ('private = ["10.0.0.0/8"]', "private: '10.0.0.0/8' is no rule"),
        ('private = ["0x7f.1:80"]', "private: '0x7f.1:80' is an address in an odd"),
        ("hosts = []", "hosts: must be a table"),
        ('[hosts]\nregistry.corp = "10.1.2.3"', "hosts.registry: must be an address"),
        ('[hosts]\n"registry.corp" = "other.corp"', "hosts.registry.corp: 'other.corp' must be an address"),
        ('[hosts]\n"registry.corp" = "10.1"', "hosts.registry.corp: '10.1' is an address in an odd"),
        ('[hosts]\n"10.1.2.3" = "10.1.2.4"', "hosts.10.1.2.3: must be the name"),
        ('[hosts]\n"a b" = "10.1.2.4"', "hosts.a b: 'a b' is no host"),
        ('[hosts]\n"a.b" = "10.1.2.4"\n"A.b" = "10.1.2.5"', "hosts.A.b: is there twice"),
        ("groups = 1", "groups: must be a table"),
        ('groups.python = "pypi.org"', "groups.python: must be a list of texts"),
        ('groups.python = ["@other"]', "groups.python: '@other' is no host"),
        ('groups.python = ["pypi.org:0"]', "groups.python: 'pypi.org:0'"),
        ('[groups]\n"Py thon" = []', "groups.Py thon: a group's name"),
        (f"groups.python = {[f'h{n}.example' for n in range(257)]}", "groups.python: 257 rules"),
        ("limits = 1", "limits: must be a table"),
        ("limits.more = 1", "limits.more: unknown key; there are connections"),
        ("limits.connections = 0", "limits.connections: must be a whole number from 1"),
        ("limits.connections = true", "limits.connections: must be a whole number"),
        ("limits.connections = 2.5", "limits.connections: must be a whole number"),
        ("limits.bytes_per_second = 1", "limits.bytes_per_second: must be a whole number from 1024"),
        ("limits.idle_seconds = 899", "limits.idle_seconds: must be a whole number from 900"),
        ("credentials = 1", "credentials: must be a table"),
        ("credentials.key = 1", "credentials.key: must be a table"),
        ('[credentials."a/b"]\nfile = "/k"', "credentials.a/b: a name has"),
        ('[credentials.key]\nfile = "/k"', "credentials.key.kind: 'key' is no kind; there are anthropic"),
        ('[credentials.anthropic]\nkey = "sk-1"', "credentials.anthropic.key: unknown key; there are kind, file"),
        ("[credentials.anthropic]", "credentials.anthropic.file: must be the absolute path"),
        ('[credentials.anthropic]\nfile = "key"', "credentials.anthropic.file: must be the absolute path"),
        ('[credentials.anthropic]\nfile = "/k\\u0000"', "credentials.anthropic.file: must be the absolute path"),
        (credential("kind2 = 1"), "credentials.key.kind2: unknown key"),
        (credential("upstream = 1"), "credentials.key.upstream: must be text"),
        (credential("", "http"), "credentials.key.upstream: '' must be https://HOST"),
        (credential('upstream = "ftp://a.b"'), "credentials.key.upstream: 'ftp://a.b' must"),
        (credential('upstream = "https://"'), "credentials.key.upstream: 'https://' must"),
        (credential('upstream = "https://a.b/v1"'), "credentials.key.upstream: 'https://a.b/v1' must"),
        (credential('upstream = "https://a.b?x"'), "credentials.key.upstream: 'https://a.b?x' must"),
        (credential('upstream = "https://a.b#x"'), "credentials.key.upstream: 'https://a.b#x' must"),
        (credential('upstream = "https://me:x@a.b"'), "credentials.key.upstream: "),
        (credential('upstream = "https://@a.b"'), "credentials.key.upstream: "),
        (credential('upstream = "https://a.b:0"'), "credentials.key.upstream: "),
        (credential('upstream = "https://a.b:99999"'), "credentials.key.upstream: "),
        (credential('upstream = "https://a.b:x"'), "credentials.key.upstream: "),
        (credential('upstream = "https://[::1"'), "credentials.key.upstream: "),
        (credential('upstream = "https://a.b\\n.c"'), "credentials.key.upstream: "),
        (credential('upstream = "https://a b"'), "credentials.key.upstream: "),
        (credential('upstream = "https://127.1"'), "credentials.key.upstream: '127.1' is an address in an odd"),
        (credential('header = "x y"'), "credentials.key.header: 'x y' is no header"),
        (credential('header = "Host"'), "credentials.key.header: 'Host' is no header"),
        (credential('header = "Transfer-Encoding"'), "credentials.key.header: "),
        (credential('header = "x:"'), "credentials.key.header: "),
        (credential('value = "Bearer"'), "credentials.key.value: must contain {key}"),
        (credential('value = "{key}\\r\\nx: y"'), "credentials.key.value: must contain {key}"),
        (credential('value = "{key}\u00e9"'), "credentials.key.value: must contain {key}"),
        (credential('user = "a:b"'), "credentials.key.user: must be ASCII"),
        (credential('user = ""'), "credentials.key.user: must be ASCII"),
        (credential('agents = "alice"'), "credentials.key.agents: must be a list of texts"),
        (credential('agents = ["../x"]'), "credentials.key.agents: "),
        (credential("paths = [1]"), "credentials.key.paths: must be a list of texts"),
        (credential('paths = ["/v1"]'), "credentials.key.paths: '/v1' must be like"),
        (credential('paths = ["TRACE /"]'), "credentials.key.paths: 'TRACE /' must be like"),
        (credential('paths = ["GET v1"]'), "credentials.key.paths: "),
        (credential('paths = ["GET /a b"]'), "credentials.key.paths: "),
    ],
)
def test_a_fault_names_the_file_and_the_key(text: str, key: str) -> None:
    with pytest.raises(BadInput) as error:
        parse_operator_file(text.encode(), "network.toml")
    assert error.value.summary.startswith(f"network.toml: {key}")
    assert error.value.hint


@pytest.mark.parametrize("data", [b"\xff", b"a =", b"a = [" + b"[" * 5000, b"#" * (FILE_LIMIT + 1)])
def test_what_is_no_toml_of_a_sensible_size_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^network\.toml: "):
        parse_operator_file(data)


def test_entries_are_rules_and_groups_each_once() -> None:
    rules = parse_operator_file(ALL).expand(["@python", "pypi.org", "a.example:22"])
    assert [rule.text for rule in rules] == ["pypi.org", "files.pythonhosted.org", "a.example:22"]


def test_an_unknown_group_is_an_error_that_names_those_that_there_are() -> None:
    with pytest.raises(BadInput, match=r"'@rust' is no group of this host \(there are: @none, @python\)"):
        parse_operator_file(ALL).expand(["@rust"])


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", None),
        (" , ", None),
        ("*.example.org", ["*.example.org"]),
        ("a.example,b.example:22  @python", ["a.example", "b.example:22", "pypi.org", "files.pythonhosted.org"]),
        ("@none", []),
    ],
)
def test_the_ceiling_is_separated_by_spaces_or_commas(text: str, rules: list[str] | None) -> None:
    ceiling = ceiling_of(text, parse_operator_file(ALL))
    assert (None if ceiling is None else [rule.text for rule in ceiling]) == rules


@pytest.mark.parametrize("text", ["@rust", "https://a", "a b:0"])
def test_a_ceiling_that_cannot_be_understood_is_an_error(text: str) -> None:
    with pytest.raises(BadInput):
        ceiling_of(text, OperatorFile())


@pytest.mark.parametrize("table", ["hosts", "groups", "limits", "credentials.anthropic"])
def test_private_below_a_table_is_refused_with_the_place_where_it_stands(table: str) -> None:
    text = f'[{table}]\nprivate = ["registry.corp:443"]\n'
    with pytest.raises(BadInput, match=f"network.toml: {table}.private: `private` is no key of ") as error:
        parse_operator_file(text.encode())
    assert error.value.hint == "write it at the beginning of the file, before the first [table]"


def test_a_host_may_be_called_private() -> None:
    assert parse_operator_file(b'[hosts]\nprivate = "10.1.2.3"\n').hosts == {"private": "10.1.2.3"}

"""Checks of single values in agent.toml: models, commands, variables, rules, URLs and headers.

Each returns its value, or raises ValueError with what is wrong and what to write instead. All are linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from meta.text import has_secret, is_invisible

MODEL_LIMIT = 200
WORD_LIMIT = 4096
"""Characters of one word of a command, and of a variable's or header's value."""
RULE_LIMIT = 500
URL_LIMIT = 2000
PROMPT_LIMIT = 65_536
ENTRIES_LIMIT = 64
"""Words of a command, variables of a table, headers of a server, servers of a file."""

_SECRETS = "see docs/howto/secrets.md"
_SHOWN = 60
_MODEL = re.compile(r"[A-Za-z0-9][!-~]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OURS = re.compile(
    r"""HIVE_.*|HYPERHIVE_.*|LD_.*|PATH|HOME|USER|LOGNAME|SHELL|CREDENTIALS_DIRECTORY   # of hive and the container
    |(?:HTTPS?|ALL|NO|FTP)_PROXY                            # of the way out; a proxy would take loopback along, too
    |NODE_USE_ENV_PROXY|GIT_SSH_COMMAND|GIT_CONFIG_(?:COUNT|PARAMETERS|(?:KEY|VALUE)_\d+)
    |ANTHROPIC_(?:BASE_URL|UNIX_SOCKET)|OPENAI_BASE_URL|GOOGLE_GEMINI_BASE_URL
    |CLAUDE_CONFIG_DIR|CODEX_HOME|OPENCODE_CONFIG(?:_DIR)?  # of the login, and of what hive configures""",
    re.IGNORECASE | re.VERBOSE,
)
_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY)|.+_(?:KEY|PAT)", re.IGNORECASE
)
_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::(\d{1,5}))?(?:[/?][!-~]*)?")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_SECRET_HEADER = re.compile(r".*(?:auth|token|secret|cookie|password|key).*", re.IGNORECASE)
_CREDENTIAL = re.compile(r"\$\{([A-Za-z][A-Za-z0-9_-]{0,63})\}")
_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")

PROMPT_NAMES = ("self", "label", "description", "role")
"""Placeholders of a prompt."""


def check_model(name: str) -> str:
    """Return the name of a model. It becomes a word of a command, so it has no spaces and does not begin with "-"."""
    if not _MODEL.fullmatch(name) or len(name) > MODEL_LIMIT:
        raise ValueError(
            f"{name[:_SHOWN]!r} is not the name of a model: it begins with a letter or digit, is ASCII without spaces, "
            f"and has at most {MODEL_LIMIT} characters"
        )
    return name


def check_command(words: Sequence[str]) -> Sequence[str]:
    """Return the words of a command."""
    if len(words) > ENTRIES_LIMIT:
        raise ValueError(f"has {len(words)} words, the limit is {ENTRIES_LIMIT}")
    if words and not words[0].strip():
        raise ValueError("the first word is the program, and it is empty")
    for word in words:
        _check_plain(word, "a word of it")
    return words


def check_variables(variables: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables of an environment: none of hive's own, and no secret."""
    if len(variables) > ENTRIES_LIMIT:
        raise ValueError(f"has {len(variables)} variables, the limit is {ENTRIES_LIMIT}")
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"{name[:_SHOWN]!r} is not the name of a variable: letters, digits and _")
        if _OURS.fullmatch(name):
            raise ValueError(f"{name}: hive or the container sets it; leave it out")
        if _SECRET_NAME.fullmatch(name) or has_secret(value):
            raise ValueError(f"{name}: a secret does not belong here, the file is in git; {_SECRETS}")
        _check_plain(value, name, lines=True)
    return variables


def check_rules(rules: Sequence[str]) -> Sequence[str]:
    """Return the rules for tools."""
    for rule in rules:
        if not rule.strip():
            raise ValueError("a rule is empty")
        if len(rule) > RULE_LIMIT:
            raise ValueError(f"a rule has {len(rule)} characters, the limit is {RULE_LIMIT}")
        _check_plain(rule, "a rule")
    return rules


def check_url(url: str) -> str:
    """Return the URL of an MCP server: https, or http on loopback. No login in it, no private address."""
    match = _URL.fullmatch(url)
    if match is None or len(url) > URL_LIMIT or int(match[3] or 1) > 65_535:
        raise ValueError(f"{url[:_SHOWN]!r} is not a URL like https://mcp.example.org/mcp, without a login in it")
    is_loopback = _is_loopback(match[2].strip("[]").lower())
    if match[1] == "http" and not is_loopback:
        raise ValueError(f"{url[:_SHOWN]!r}: http is for loopback only; use https")
    if has_secret(url):
        raise ValueError(f"a secret does not belong in a URL, the file is in git; {_SECRETS}")
    return url


def check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers of an MCP server. A secret is in none: `${ID}` stands for the agent's credential ID."""
    if len(headers) > ENTRIES_LIMIT:
        raise ValueError(f"has {len(headers)} headers, the limit is {ENTRIES_LIMIT}")
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise ValueError(f"{name[:_SHOWN]!r} is not the name of a header")
        _check_plain(value, name)
        if "${" in _CREDENTIAL.sub("", value):
            raise ValueError(f"{name}: after ${{ comes the id of a credential and }}, as in Bearer ${{matrix-token}}")
        has_credential = _CREDENTIAL.search(value) is not None
        if has_secret(_CREDENTIAL.sub("", value)) or (_SECRET_HEADER.fullmatch(name) and not has_credential):
            raise ValueError(
                f"{name}: a secret does not belong here, the file is in git; write ${{ID}} for the agent's credential "
                f"ID; {_SECRETS}"
            )
    return headers


def credentials_in(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the ids of the credentials that the headers name."""
    return frozenset(match for value in headers.values() for match in _CREDENTIAL.findall(value))


def fill_headers(headers: Mapping[str, str], credentials: Mapping[str, str]) -> dict[str, str]:
    """Return the headers with the credentials' values. Raise KeyError with the id of one that is not there."""
    return {name: _CREDENTIAL.sub(lambda match: credentials[match[1]], value) for name, value in headers.items()}


def check_prompt(prompt: str, names: Sequence[str] = PROMPT_NAMES) -> str:
    """Return a prompt. Every `{name}` in it is one of `names`; `{{name}}` stands for itself."""
    if len(prompt) > PROMPT_LIMIT:
        raise ValueError(f"has {len(prompt)} characters, the limit is {PROMPT_LIMIT}")
    for match in _PLACEHOLDER.finditer(prompt):
        name = match[2]
        if name and name not in names:
            known = ", ".join(f"{{{one}}}" for one in names)
            shown = name[:_SHOWN]
            raise ValueError(f"{{{shown}}} is not a placeholder ({known}); write {{{{{shown}}}}} for the text")
    return prompt


def fill_prompt(prompt: str, values: Mapping[str, str]) -> str:
    """Return a prompt that was checked, with its placeholders filled."""
    return _PLACEHOLDER.sub(lambda match: f"{{{match[1]}}}" if match[1] else values[match[2]], prompt)


def _is_loopback(host: str) -> bool:
    """Return True for loopback. Raise ValueError for another address that is not public."""
    import ipaddress  # most files name no address

    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        last = host.rstrip(".").rpartition(".")[2]
        if not last or re.fullmatch(r"\d+|0x[0-9a-f]*", last):  # 127.1, 0x7f000001: addresses in another form
            raise ValueError(f"{host[:_SHOWN]!r} is neither a name nor an address in its usual form") from error
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    if not (address.is_loopback or address.is_global) or address.is_multicast:
        raise ValueError(f"{host[:_SHOWN]!r} is not a public address; use a name, or loopback")
    return address.is_loopback


def _check_plain(value: str, what: str, *, lines: bool = False) -> None:
    if len(value) > WORD_LIMIT:
        raise ValueError(f"{what[:_SHOWN]}: {len(value)} characters are too long, the limit is {WORD_LIMIT}")
    if value.isascii() and value.isprintable():
        return
    if any(is_invisible(char) or (char in "\n\t" and not lines) for char in value):
        where = "a control or invisible character" if lines else "a line end, a tab, a control or invisible character"
        raise ValueError(f"{what[:_SHOWN]}: {where} is in it; write it without")

"""The variables of the way out: a row for each tool."""

from __future__ import annotations

import shlex

import pytest

from meta.network.variables import BUNDLE, CA, OTHER_BUNDLES, TOOLS, ca_variables, git_variables, proxy_variables

PROXY = "http://127.0.0.1:3128"
SET = proxy_variables(3128, ("/nix/it's/hive-harness",))


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_finds_the_way_out_and_loopback_by_what_it_reads(name: str) -> None:
    tool = TOOLS[name]
    for variables in (tool.https, tool.http):
        assert not variables or {SET.get(variable) for variable in variables} == {PROXY}
    for variable in tool.direct:
        assert "127.0.0.1" in SET[variable].split(",")
    assert set(tool.also) <= SET.keys()
    assert not tool.ca or set(tool.ca) & set(CA)


def test_nothing_is_set_that_slows_the_cli_or_that_no_tool_needs() -> None:
    assert not {"ALL_PROXY", "all_proxy", "FTP_PROXY"} & SET.keys()


def test_ssh_of_git_goes_through_hives_own_helper_whatever_the_path_is() -> None:
    ssh, option, command = shlex.split(SET["GIT_SSH_COMMAND"])
    name, _, value = command.partition("=")
    assert (ssh, option, name) == ("ssh", "-o", "ProxyCommand")
    assert shlex.split(value) == ["/nix/it's/hive-harness", "connect", "127.0.0.1:3128", "%h", "%p"]


def test_authorities_are_named_only_where_tools_do_not_find_them() -> None:
    assert ca_variables([BUNDLE, OTHER_BUNDLES[0]]) == {}
    assert ca_variables([]) == {}
    assert ca_variables([OTHER_BUNDLES[1]]) == dict.fromkeys(CA, OTHER_BUNDLES[1])


def test_git_asks_one_url_instead_of_others() -> None:
    assert git_variables("http://a:1", {}) == git_variables("http://a:1", {"odd": "https://b c"}) == {}
    assert git_variables("http://a:1", {"hub": "https://b"}) == {
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_0": "url.http://a:1/hub/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://b/",
        "GIT_CONFIG_KEY_1": "url.http://a:1/hub/.insteadOf",
        "GIT_CONFIG_VALUE_1": "git@b:",
        "GIT_CONFIG_KEY_2": "url.http://a:1/hub/.insteadOf",
        "GIT_CONFIG_VALUE_2": "ssh://git@b/",
    }

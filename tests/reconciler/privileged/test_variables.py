"""What the start scripts of NixOS read, under the strictest shell options, with the conf that hive writes."""

from __future__ import annotations

import subprocess

import pytest

from meta.names import AgentName
from reconciler.privileged.conf import Conf, render
from reconciler.privileged.values import Settings
from reconciler.privileged.variables import SINCE
from tests.reconciler.privileged.test_conf import PLACES, SYSTEM

# as the scripts have them: those of one release read all of the releases before, too
READS = {
    "20.09": "PRIVATE_NETWORK HOST_ADDRESS LOCAL_ADDRESS HOST_ADDRESS6 LOCAL_ADDRESS6 HOST_BRIDGE HOST_PORT INTERFACES "
    "MACVLANS SYSTEM_PATH EXTRA_NSPAWN_FLAGS",
    "25.05": "FLAKE NETWORK_NAMESPACE_PATH PRIVATE_USERS",
    "26.05": "LOCAL_MAC_ADDRESS COPY_RESOLV_CONF",
}


def read(names: list[str], text: str) -> subprocess.CompletedProcess[str]:
    """Read the variables in a shell whose environment systemd made from the conf."""
    pairs = [line.partition("=") for line in text.splitlines() if not line.startswith("#")]
    environment = {name: value.strip('"') for name, _, value in pairs}
    script = "\n".join(["set -euo pipefail", *(f'printf "%s=%s\\n" {name} "${name}"' for name in names)])
    return subprocess.run(
        ["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, timeout=20, check=False
    )


@pytest.mark.parametrize("release", READS)
@pytest.mark.parametrize("isolated", [True, False])
def test_no_start_script_meets_an_unset_variable(release: str, isolated: bool) -> None:
    names = [name for each, words in READS.items() if each <= release for name in words.split()]
    text = render(AgentName("alice"), Conf("h1", Settings("agent", 589_824, isolated=isolated), SYSTEM), PLACES)
    done = read(names, text)
    assert done.returncode == 0, done.stderr
    said = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert said["PRIVATE_NETWORK"] == "1"
    assert said.get("COPY_RESOLV_CONF", "0") == ("0" if isolated or release < "26.05" else "1")
    assert said.get("PRIVATE_USERS", "") == said.get("FLAKE", "") == ""


def test_a_variable_that_is_not_written_ends_such_a_script() -> None:
    done = read(["COPY_RESOLV_CONF"], "# hive h1\nPRIVATE_NETWORK=1\n")
    assert done.returncode != 0
    assert "COPY_RESOLV_CONF: unbound variable" in done.stderr


def test_the_table_holds_what_the_scripts_read_and_since_when() -> None:
    assert {name: release for release, words in READS.items() for name in words.split()} == SINCE

"""What is written about a container: snapshots, read back, and nothing that could be slipped in."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from meta.layout import Layout
from meta.names import MANAGER, AgentName
from reconciler.privileged.conf import Conf, Places, binds, directory, read_back, render, render_limits
from reconciler.privileged.values import Bounds, Limits, Settings

BOUNDS = Bounds()
unhurried = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PLACES = Places("/var/lib/hive", "/run/hyperhive")
SYSTEM = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-alice-24.11"
ALICE = AgentName("alice")
SETTINGS = Settings("agent", 589_824, Limits(512, 100, 150))

EXPECTED = f"""\
# hive h1
# settings {{"isolated": true, "limits": {{"cpu_percent": 150, "memory_mib": 512, "pids": 100}}, "role": "agent", "uid_base": 589824}}
# written {SETTINGS.fingerprint()} DIGEST
PRIVATE_NETWORK=1
HOST_ADDRESS=
LOCAL_ADDRESS=
HOST_ADDRESS6=
LOCAL_ADDRESS6=
HOST_BRIDGE=
HOST_PORT=
INTERFACES=
MACVLANS=
FLAKE=
NETWORK_NAMESPACE_PATH=
PRIVATE_USERS=
LOCAL_MAC_ADDRESS=
COPY_RESOLV_CONF=0
AUTO_START=0
SYSTEM_PATH={SYSTEM}
EXTRA_NSPAWN_FLAGS="--private-users=589824:65536 --private-users-ownership=auto \
--tmpfs=/nix/var/nix/profiles:mode=0755,size=4M,nosuid,nodev \
--tmpfs=/nix/var/nix/gcroots:mode=0755,size=4M,nosuid,nodev \
--bind=/var/lib/hive/agents/alice/state:/state --bind=/var/lib/hive/agents/alice/home:/home/agent \
--bind=/var/lib/hive/agents/alice/pods:/run/pods --bind=/run/hyperhive/agents/alice:/run/hive \
--bind-ro=/run/hyperhive/egress/alice:/run/egress \
--inaccessible=/nix/var/nix/daemon-socket --inaccessible=/nix/var/nix/db \
--system-call-filter=landlock_create_ruleset --system-call-filter=landlock_add_rule --system-call-filter=landlock_restrict_self"
"""  # noqa: E501

EXPECTED_LIMITS = f"""\
# hive h1
# written {SETTINGS.fingerprint()} DIGEST
[Service]
MemoryMax=512M
MemorySwapMax=0
TasksMax=100
CPUQuota=150%
DeviceAllow=/dev/net/tun rwm
Restart=no
RestartForceExitStatus=
"""


def without_digest(text: str) -> str:
    """The digest covers the rest; it is checked by reading back."""
    head, _, rest = text.partition("# written ")
    fingerprint, digest, *_ = rest.split()
    return f"{head}# written {fingerprint} DIGEST{rest.removeprefix(f'{fingerprint} {digest}')}"


def test_the_conf_of_an_agent() -> None:
    assert without_digest(render(ALICE, Conf("h1", SETTINGS, SYSTEM), PLACES)) == EXPECTED


def test_the_limits_of_an_agent() -> None:
    assert without_digest(render_limits("h1", SETTINGS)) == EXPECTED_LIMITS


def test_no_limit_is_said_so_that_it_overrides() -> None:
    text = render_limits("h1", Settings("agent", 589_824, Limits(None, None, None)))
    assert "MemoryMax=infinity\nTasksMax=infinity\nCPUQuota=\n" in text


def test_the_manager_sees_applied_and_meta_read_only() -> None:
    text = render(MANAGER, Conf("h1", Settings("manager", 524_288), None), PLACES)
    assert " --bind=/run/hyperhive/manager:/run/hive " in text
    assert " --bind=/var/lib/hive/proposed:/agents " in text
    assert " --bind-ro=/var/lib/hive/applied:/applied --bind-ro=/var/lib/hive/meta:/meta " in text
    assert "SYSTEM_PATH" not in text


def test_only_what_is_not_isolated_gets_addresses_and_no_two_share_one() -> None:
    assert "ADDRESS=1" not in render(ALICE, Conf("h1", SETTINGS, None), PLACES)
    seen: set[str] = set()
    for slot in range(1, 28_000, 7):
        text = render(ALICE, Conf("h1", Settings("agent", slot * 65_536, isolated=False), None), PLACES)
        pair = [line.partition("=")[2] for line in text.splitlines() if "_ADDRESS=1" in line]
        assert len(pair) == 2
        assert all(address.startswith(("10.234.", "10.235.")) for address in pair)
        assert not seen & set(pair)
        seen.update(pair)


@pytest.mark.parametrize("name", [ALICE, MANAGER])
def test_the_directories_are_those_of_the_layout(name: AgentName) -> None:
    layout = Layout(Path("/s"), Path("/r"))
    expected = {
        "state": layout.agent_state(name),
        "home": layout.agent_home(name),
        "pods": layout.pods(name),
        "sockets": layout.sockets(name),
        "egress": layout.egress(name),
        "proposed": layout.proposed_config(name),
    }
    for kind, path in expected.items():
        bind = directory(name, kind)
        assert Path("/r" if bind.runtime else "/s").joinpath(*bind.parts) == path
    inside = ["/state", "/home/agent", "/run/pods", "/run/hive", "/run/egress"]
    assert [bind.inside for bind in binds(name, "agent")] == inside


def test_what_was_written_is_read_back() -> None:
    found = read_back(render(ALICE, Conf("h1", SETTINGS, SYSTEM), PLACES), BOUNDS)
    assert (found.owner, found.fingerprint, found.settings, found.system) == (
        "h1",
        SETTINGS.fingerprint(),
        SETTINGS,
        SYSTEM,
    )
    assert read_back(render_limits("h1", SETTINGS), BOUNDS).fingerprint == SETTINGS.fingerprint()


@unhurried
@given(st.data())
def test_no_edit_goes_unnoticed(data: st.DataObject) -> None:
    text = render(ALICE, Conf("h1", SETTINGS, SYSTEM), PLACES)
    at = data.draw(st.integers(0, len(text) - 1))
    edited = text[:at] + data.draw(st.sampled_from(string.printable)) + text[at + data.draw(st.integers(0, 3)) :]
    found = read_back(edited, BOUNDS)
    if edited != text and found.owner == "h1" and found.fingerprint is not None:
        # the fingerprint itself may be another one, then it fits no settings
        assert found.fingerprint != SETTINGS.fingerprint() or edited.split() == text.split()


@unhurried
@given(st.text(string.printable + "\x00\x85\u2028"))
def test_any_text_is_read_back_as_not_ours_or_as_edited(text: str) -> None:
    assert read_back(text, BOUNDS).fingerprint is None
    assert read_back(f"# hive h1\n{text}", BOUNDS).fingerprint is None


@pytest.mark.parametrize(
    "text", ["", "\n", "PRIVATE_NETWORK=1\n", "# hive \n", "# hive A B\n", "\n# hive h1\n", "#hive h1"]
)
def test_without_the_marker_on_the_first_line_it_is_not_ours(text: str) -> None:
    assert read_back(text, BOUNDS).owner is None

"""services.hive.credentials and hive.agent.credentials: paths and ids, which root's helper and systemd understand."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from reconciler.privileged.credentials import NEEDED, given, needed
from tests.nix.evaluate import HERE, Evaluator
from tests.nix.test_host_module import environment, section


@pytest.fixture(scope="module")
def found(nix: Evaluator) -> Any:
    """All configurations of the host, in one evaluation."""
    return nix.json(HERE / "host.nix", hyperhive="path:/hive")


@pytest.fixture(scope="module")
def asking(nix: Evaluator) -> Any:
    """The system of an agent that needs two credentials."""
    return nix.json(HERE / "agent.nix", files="[]")["systems"]


def test_the_root_helper_reads_the_list_that_the_module_writes(found: Any, tmp_path: Path) -> None:
    secretive = found["evaluated"]["secretive"]
    assert secretive["failed"] == []
    path = tmp_path / "credentials.json"
    path.write_text(secretive["credentials"])
    path.chmod(0o644)
    agents = given(path, path.stat().st_uid)
    assert {name: {id: one.path for id, one in own.items()} for name, own in agents.items()} == {
        "alice": {"github-token": "/run/secrets/alice-github", "npm_token": "/run/agenix/npm"},
        "manager": {"deploy": "/var/lib/secrets/deploy.key"},
    }


def test_a_change_of_credentials_restarts_neither_the_daemon_nor_the_helper(found: Any) -> None:
    plain, secretive = found["evaluated"]["plain"], found["evaluated"]["secretive"]
    assert plain["credentials"] is None
    assert (secretive["units"], secretive["helper"]) == (plain["units"], plain["helper"])


def test_the_file_of_notify_is_loaded_by_systemd_and_its_path_is_all_that_is_written(found: Any) -> None:
    notifying = found["evaluated"]["notifying"]
    service = section(notifying["units"]["hive.service"], "Service")
    assert service["LoadCredential"] == ["notify:/run/secrets/notify"]
    assert '"HIVE_NOTIFY_FILE=%d/notify"' in service["Environment"]
    assert "HIVE_NOTIFY_FILE" not in environment(notifying["settings"])
    assert "LoadCredential" not in found["evaluated"]["plain"]["units"]["hive.service"]


def test_a_file_of_notify_that_is_a_link_into_the_store_keeps_the_daemon_from_starting(
    found: Any, tmp_path: Path
) -> None:
    (check,) = found["evaluated"]["notifying"]["notifyCheck"]
    store, link = tmp_path / "store", tmp_path / "notify"
    store.mkdir()
    (store / "token").touch()
    link.symlink_to(store / "token")
    words = check.replace("/run/secrets/notify", str(link))
    words = re.sub(r"\$\(\S*/bin/readlink", "$(readlink", words)
    (pattern,) = [line.strip() for line in words.splitlines() if line.strip().endswith("/*)")]
    stored = subprocess.run(
        ["/bin/sh", "-c", words.replace(pattern, f"{store}/*)")], capture_output=True, text=True, timeout=20
    )
    assert (stored.returncode, "lies in the store" in stored.stderr) == (1, True)
    elsewhere = subprocess.run(["/bin/sh", "-c", words], capture_output=True, text=True, timeout=20)
    assert (elsewhere.returncode, elsewhere.stderr) == (0, "")


def test_the_unit_of_the_harness_loads_what_the_agent_asks_for_and_the_helper_reads_it(
    asking: Any, tmp_path: Path
) -> None:
    keeper = asking["keeper"]
    assert keeper["failed"] == []
    assert section(keeper["unit"], "Service")["LoadCredential"] == ["github-token", "npm_token"]
    path = tmp_path / "store" / "system" / NEEDED
    path.parent.mkdir(parents=True)
    path.write_text(keeper["credentials"])
    assert needed(str(tmp_path / "store" / "system"), str(tmp_path / "store")) == ("github-token", "npm_token")


def test_an_agent_that_asks_for_none_has_neither_the_file_nor_the_lines(asking: Any) -> None:
    assert "LoadCredential" not in asking["alice"]["unit"]
    assert asking["alice"]["credentials"] is None
    assert json.loads(asking["keeper"]["credentials"]) == ["github-token", "npm_token"]

"""The paths to the daemon: its state and runtime directory, from options, HIVE_* variables, or the defaults.

both given               as given
only --state             runtime is STATE/run (/run/hyperhive for /var/lib/hyperhive)
neither                  ./.hive and ./.hive/run if ./.hive exists (`hive serve` creates it),
                         else /var/lib/hyperhive and /run/hyperhive
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SYSTEM_STATE = Path("/var/lib/hyperhive")
SYSTEM_RUNTIME = Path("/run/hyperhive")
LOCAL_STATE = Path(".hive")


@dataclass(frozen=True, slots=True)
class Where:
    """The absolute state and runtime directories of one daemon."""

    state: Path
    runtime: Path

    @property
    def http(self) -> Path:
        """The operator's HTTP socket."""
        return self.runtime / "http.sock"

    def serve_command(self) -> str:
        """Return the command that starts this daemon. Without a system-wide hive it is one for ./.hive."""
        if self.state == LOCAL_STATE.absolute() or (self.state == SYSTEM_STATE and not self.state.exists()):
            return "hive serve"
        command = f"hive serve --state {self.state}"
        return command if self.runtime == _runtime_of(self.state) else f"{command} --runtime {self.runtime}"


def find(state: str | None, runtime: str | None, *, serving: bool = False) -> Where:
    """Return the directories for the values of --state and --runtime (None or empty: not given)."""
    if state:
        chosen = Path(state).absolute()
    elif LOCAL_STATE.is_dir() or serving:
        chosen = LOCAL_STATE.absolute()
    else:
        chosen = SYSTEM_STATE
    return Where(chosen, Path(runtime).absolute() if runtime else _runtime_of(chosen))


def _runtime_of(state: Path) -> Path:
    return SYSTEM_RUNTIME if state == SYSTEM_STATE else state / "run"

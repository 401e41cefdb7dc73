"""The library of passkeys takes long to load, so nothing loads it before the first passkey is used."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = "import sys, api.daemon.serve, api.daemon.web; print(sorted({'webauthn', 'cbor2'} & set(sys.modules)))"


def test_a_daemon_starts_without_the_library_of_passkeys() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"

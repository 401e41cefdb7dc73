#!/bin/sh
# Makes the root of Debian 13 in build/roots/trixie-host: the files of a host with systemd 257, for tests/systemd.
# Does nothing if it is there, and where the tests need none: without root, or where systemd itself is that new.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || exit 0
command -v apt-get >/dev/null && command -v systemd-nspawn >/dev/null || exit 0
[ "$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -lt 256 ] 2>/dev/null || exit 0
# the libraries are those that this machine's Python, which runs in the host, may be linked to
libraries=libffi8,libssl3t64,libsqlite3-0,libreadline8t64,libbz2-1.0,liblzma5,libncursesw6,libseccomp2
programs=systemd,systemd-container,dbus,iproute2,git,python3-minimal,libpython3-stdlib,bubblewrap
sh tests/support/debian-root.sh trixie build/roots/trixie-host "$programs,$libraries" "${HIVE_ROOT_SECONDS:-300}" || {
  echo "hive: the tests on systemd 257 are skipped; try again: sh tests/support/get-newer-systemd.sh" >&2
}

#!/bin/sh
# Makes the root of Debian 13 in /var/cache/hive-tests (HIVE_TEST_CACHE): the files of a host with systemd 257, for
# tests/systemd. It is not in the checkout, because nix copies that.
# Does nothing if it is there, and where the tests need none: without root, or where systemd itself is that new. With
# HIVE_NO_INSTALL=1 only says that it is missing.
set -eu
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || exit 0
command -v apt-get >/dev/null && command -v systemd-nspawn >/dev/null || exit 0
[ "$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -lt 256 ] 2>/dev/null || exit 0
root=${HIVE_TEST_CACHE:-/var/cache/hive-tests}/trixie-host
[ ! -e "$root" ] || exit 0
if [ "${HIVE_NO_INSTALL:-}" = 1 ]; then
  echo "hive: there is no root of Debian 13, so the tests on systemd 257 are skipped; try: env -u HIVE_NO_INSTALL sh tests/support/get-newer-systemd.sh" >&2
  exit 0
fi
# the libraries are those that this machine's Python, which runs in the host, may be linked to
libraries=libffi8,libssl3t64,libsqlite3-0,libreadline8t64,libbz2-1.0,liblzma5,libncursesw6,libseccomp2
programs=systemd,systemd-container,dbus,iproute2,git,python3-minimal,libpython3-stdlib,bubblewrap
sh tests/support/debian-root.sh trixie "$root" "$programs,$libraries" "${HIVE_ROOT_SECONDS:-300}" || {
  echo "hive: the tests on systemd 257 are skipped; try again: sh tests/support/get-newer-systemd.sh" >&2
}

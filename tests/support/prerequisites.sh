#!/bin/sh
# Installs the programs of the system that are missing, as root or with sudo; else names all of them in one command.
#
#   prerequisites.sh run|test PYTHON      HIVE_NO_INSTALL=1 only names them
#
# Without those of `run` nothing works. Without the others of `test` some tests are skipped (HIVE_STRICT=1: fail).
set -eu
purpose=$1
python=$2

say() { printf 'hive: %s\n' "$1" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
can() { "$python" -c "$1" >/dev/null 2>&1; }
# Ubuntu has Chromium only as a snap, which apt cannot bring without a running snapd
browser() { have chromium || have chromium-browser || have google-chrome || grep -qs '^ID=ubuntu' /etc/os-release; }
library() { can "import ctypes; ctypes.CDLL('$1')"; }

# name on Debian and Ubuntu, and on NixOS (- if it comes with something else)
debian=""
nixos=""
need() {
  debian="$debian $1"
  [ "$2" = - ] || nixos="$nixos $2"
}
missing_to_run() {
  if ! have "$python"; then
    need python3 python3
    need python3-venv -
  elif ! can 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "$python is $("$python" -V 2>&1), hive needs 3.11 or newer: install one, then make PYTHON=python3.12"
    exit 1
  elif ! can 'import venv, ensurepip'; then
    need "python3-venv" -
  fi
  have git || need git git
  have bwrap || need bubblewrap bubblewrap
}
missing_to_test() {
  have nix || need nix-bin -
  have systemd-nspawn || need systemd-container systemd
  [ "$(id -u)" != 0 ] || ! have apt-get || have mmdebstrap || need mmdebstrap -
  have node || need nodejs nodejs
  have groff || need groff groff
  browser || need chromium chromium
  have unshare || need util-linux util-linux
  have ip || need iproute2 iproute2
  have curl || need curl curl
  ! have "$python" || library libseccomp.so.2 || need libseccomp2 libseccomp
}

missing_to_run
fatal=$debian
[ "$purpose" = run ] || missing_to_test
[ -n "$debian" ] || exit 0

if have apt-get; then
  remedy="apt-get install --no-install-recommends$debian"
elif have nix-shell; then
  remedy="nix-shell -p$nixos"
else
  remedy="install with your package manager (these are Debian's names):$debian"
fi

sudo=""
if [ "$(id -u)" != 0 ]; then
  if have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then sudo=sudo; else sudo=none; fi
fi
if have apt-get && [ "$sudo" != none ] && [ "${HIVE_NO_INSTALL:-}" != 1 ]; then
  say "installing what is missing:$debian (HIVE_NO_INSTALL=1 only names it)"
  quiet="env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120"
  # shellcheck disable=SC2086 # words on purpose
  $sudo $quiet update && $sudo $quiet install --no-install-recommends -y $debian >/dev/null </dev/null && exit 0
  say "that failed"
fi
say "missing:$debian"
say "try: $remedy"
[ -z "$fatal" ] || exit 1
say "the tests that need these are skipped"

#!/bin/sh
# README's two commands on fresh machines: roots of Debian, with an empty home, as root and as an ordinary user.
#
#   run.sh [SUITE...]     (bookworm trixie)    WHO="root user"    TESTS="paths", or TESTS=all for all tests
#
# Needs root. Roots are made once, in build/roots. Each run has a copy of one, in a mount and pid namespace of its own:
# when it ends, its mounts and processes are gone. What this machine knows of packages is passed on: the sources of apt,
# the configuration of pip, what that reads from directories, proxies and certificates.
set -eu
cd "$(dirname "$0")/../.."
roots=build/roots
seconds=${LIMIT:-1500}

say() { printf 'hive: %s\n' "$1" >&2; }
die() { say "$1"; exit 1; }

[ "$(id -u)" = 0 ] || die "make test-fresh needs root: it makes roots of Debian and mounts in them"
command -v mmdebstrap >/dev/null || {
  say "installing mmdebstrap"
  env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get -qq update && apt-get -qq install --no-install-recommends -y mmdebstrap' >/dev/null
}

make_root() {
  mkdir -p $roots
  apt-config dump | grep -E '^Acquire::(https?|Check)' >$roots/apt.conf || true
  sh tests/support/debian-root.sh "$1" "$roots/$1.tar" git,make,ca-certificates 600
}

# The files and directories that the configuration of pip names, and beside an index of files the files themselves.
pip_places() {
  python3 -m pip config list 2>/dev/null | grep -oE "(file://)?/[^ '\"\\]+" | while read -r place; do
    case $place in
      file://*) dirname "${place#file://}" ;;
      *) echo "$place" ;;
    esac
  done | sort -u
}

# Copies into the root $1 what this machine knows of packages.
pass_on() {
  cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
  cp $roots/apt.conf "$1/etc/apt/apt.conf.d/99host" 2>/dev/null || true
  cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/" 2>/dev/null || true
  if [ -d /etc/xdg/pip ]; then mkdir -p "$1/etc/xdg" && cp -r /etc/xdg/pip "$1/etc/xdg/"; fi
  [ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$1/etc/"
  own=${PIP_CONFIG_FILE:-${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf}
  [ ! -e "$own" ] || cp "$own" "$1/etc/pip-of-the-user.conf"
  pip_places >"$1/pip-places"
}

run_one() {
  suite=$1 who=$2
  directory=$(mktemp -d "$PWD/$roots/run-XXXXXX")
  root=$directory/root
  mkdir "$root"
  trap 'rm -rf --one-file-system "$directory"' EXIT
  trap 'exit 130' INT TERM HUP
  tar -C "$root" -xf "$roots/$suite.tar" --exclude='./dev/*'
  pass_on "$root"
  git clone -q . "$root/checkout"
  git -C "$root/checkout" remote remove origin
  cp tests/fresh/inside.sh "$root/inside.sh"
  env | grep -E '^(PIP_|(https?|ftp|no|all)_proxy=|(HTTPS?|FTP|NO|ALL)_PROXY=)' | grep -v '^PIP_CONFIG_FILE=' >"$root/environment" || true
  say "$suite, as $who: make demo, make test"
  timeout --kill-after=30 "$seconds" unshare --mount --pid --fork --kill-child --propagation private \
    sh tests/fresh/enter.sh "$root" "$who" "$TESTS" || die "$suite, as $who: failed ($?)"
  say "$suite, as $who: ok"
  rm -rf --one-file-system "$directory"
  trap - EXIT
}

TESTS=${TESTS:-tests/meta/process tests/meta/test_text.py tests/harness tests/api/sockets tests/reconciler/privileged tests/e2e/test_story.py}
[ "$TESTS" != all ] || TESTS=
for suite in ${*:-bookworm trixie}; do
  make_root "$suite"
  for who in ${WHO:-root user}; do
    run_one "$suite" "$who"
  done
done

#!/bin/sh
# Makes a root of Debian as a directory or a .tar, once, from the mirror that this machine's apt uses.
#
#   debian-root.sh SUITE TARGET PACKAGE[,PACKAGE...] [SECONDS]      needs root; SECONDS (300) bound all downloads
#
# Two callers at once wait for each other. TARGET appears when it is complete, or never.
set -eu
suite=$1 target=$2 packages=$3 seconds=${4:-300}

say() { printf 'hive: %s\n' "$1" >&2; }

# Prints this host's apt sources of Debian itself, as lines, for the suite.
sources() {
  host=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$host" ] && apt-get indextargets --format '$(SITE)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -F'|' -v host="$host" -v suite="$suite" '
      $2 == host || $2 == host "-updates" || $2 == host "-security" {
        sub("^" host, suite, $2); print "deb", $4, $2, $3
      }' | sort -u
}

[ "$(id -u)" = 0 ] || { say "a root of Debian $suite needs root"; exit 1; }
command -v mmdebstrap >/dev/null || { say "a root of Debian $suite needs mmdebstrap (apt-get install mmdebstrap)"; exit 1; }
mkdir -p "$(dirname "$target")"
exec 9>"$target.lock"
flock -w "$seconds" 9 || { say "another process is still making $target"; exit 1; }
[ ! -e "$target" ] || exit 0
say "making a root of Debian $suite in $target (once, about a minute)"
fresh=$target.new
case $target in *.tar) fresh=${target%.tar}.new.tar ;; esac
notes=$(mktemp -d)
trap 'rm -rf "$notes"; rm -rf --one-file-system "$fresh"' EXIT
trap 'exit 130' INT TERM HUP
rm -rf --one-file-system "$fresh"
apt-config dump | grep -E '^Acquire::(https?|Check)' >"$notes/apt.conf" || true
sources >"$notes/sources.list" || true
timeout --kill-after=30 "$seconds" mmdebstrap -q --variant=minbase --include="$packages" --aptopt="$notes/apt.conf" \
  --aptopt='Acquire::Retries "1"' --aptopt='Acquire::http::Timeout "20"' --aptopt='Acquire::https::Timeout "20"' \
  "$suite" "$fresh" $([ ! -s "$notes/sources.list" ] || echo "$notes/sources.list") </dev/null >"$notes/log" 2>&1 || {
  code=$?
  tail -5 "$notes/log" >&2
  say "mmdebstrap could not make a root of Debian $suite (code $code; 124: not within $seconds s)"
  exit 1
}
mv -T "$fresh" "$target"

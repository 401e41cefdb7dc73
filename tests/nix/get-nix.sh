#!/bin/bash
# get-nix.sh SUITE DEST: another Debian suite's nix (trixie: 2.26, sid: 2.34), unpacked under DEST beside the system.
#
# Takes nix-bin with all that it depends on from the mirror this machine is configured for, and makes it runnable with
# its own loader and libraries. DEST/bin then holds nix, nix-store and nix-instantiate. The host is not changed.
set -euo pipefail
suite=$1
dest=$(mkdir -p "$2" && realpath "$2")
work=$dest/.apt
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/etc"
: >"$work/status"
configured=/etc/apt/sources.list.d/debian.sources
if [ ! -e $configured ]; then
  echo "needs $configured (deb822 style)" >&2
  exit 1
fi
sed -n '1,/^$/p' $configured | sed "s/^Suites:.*/Suites: $suite/; s/^Components:.*/Components: main/" >"$work/etc/$suite.sources"
options=(
  -o "Dir::Etc::sourcelist=$work/etc/$suite.sources" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=-
  -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache"
  -o APT::Install-Recommends=0
)
apt-get "${options[@]}" -qq update
(cd "$work/cache/archives" && apt-get "${options[@]}" -qq -y --download-only install nix-bin patchelf)
for package in "$work"/cache/archives/*.deb; do
  dpkg-deb -x "$package" "$dest"
done
rm -rf "$work"

# The build hook executes /proc/self/exe again, so going through the loader by hand is not enough.
machine=$(uname -m)
libraries=$dest/usr/lib/$machine-linux-gnu
loader=$(find "$libraries" -maxdepth 1 -name 'ld-linux-*.so.*' | head -n 1)
"$loader" --library-path "$libraries" "$dest/usr/bin/patchelf" \
  --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$dest/usr/bin/nix"
mkdir -p "$dest/bin"
for name in nix nix-store nix-instantiate nix-daemon; do
  ln -sf "$dest/usr/bin/nix" "$dest/bin/$name"
done
"$dest/bin/nix" --version

#!/bin/sh
# In the fresh root: README's two commands from an empty home. $1: root or user, $2: the tests, "" for all.
set -eu
who=$1 tests=$2
while read -r line; do export "${line?}"; done </environment
[ ! -e /etc/pip-of-the-user.conf ] || export PIP_CONFIG_FILE=/etc/pip-of-the-user.conf
export TERM=dumb

if [ "$who" = root ]; then
  home=/root
  as() { env HOME="$home" sh -c "$1"; }
else
  home=/home/$who
  useradd -m "$who" 2>/dev/null
  as() { setpriv --reuid="$who" --regid="$who" --init-groups env HOME="$home" USER="$who" sh -c "$1"; }
fi
find $home -mindepth 1 -delete
mv /checkout $home/hive
chown -R "$who:" $home/hive
cd $home/hive

if [ "$who" != root ]; then  # without root and sudo all that is missing is named at once, in one command
  if as 'make demo' 2>/named; then echo 'hive: make demo went on without its packages' >&2; exit 1; fi
  remedy=$(sed -n 's/^hive: try: //p' /named)
  case $remedy in *python3*python3-venv*bubblewrap*) ;; *) cat /named >&2; exit 1 ;; esac
  env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -qq update; $remedy -qq -y" >/dev/null
fi
as 'make demo'
as "make test TESTS='$tests'"

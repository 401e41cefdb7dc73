#!/bin/sh
# The `init` of a system of the stub: writes the closure's few files and becomes the systemd of the machine, whose
# /usr is bound here read-only in the place of most of a real closure.
here=$(dirname "$(readlink -f "$0")")
units=/etc/systemd/system
[ ! -f /etc/.closure ] || while read -r path; do rm -f "/etc/$path"; done </etc/.closure
rm -rf $units
mkdir -p $units /etc/systemd/system-generators
cp -r "$here/etc/." /etc
(cd "$here/etc" && find . -type f) >/etc/.closure
cp "$here"/units/* $units
ln -sfn "$here" /run/current-system
systemd-tmpfiles --create "$here/tmpfiles.conf"
for generator in /usr/lib/systemd/system-generators/*; do
  ln -sf /dev/null "/etc/systemd/system-generators/${generator##*/}"
done
for unit in systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysusers.service \
  systemd-update-utmp.service systemd-binfmt.service systemd-firstboot.service systemd-sysctl.service \
  systemd-machine-id-commit.service systemd-networkd.service systemd-networkd.socket; do
  ln -sf /dev/null $units/$unit
done
exec /usr/lib/systemd/systemd --unit=closure.target --show-status=no --log-level=notice

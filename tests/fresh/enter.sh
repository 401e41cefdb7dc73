#!/bin/sh
# Makes the directory $1 the root of this mount namespace, and runs inside.sh there for $2 with the tests $3.
# pivot_root, not chroot: below a chroot the kernel allows no user namespace, and bubblewrap needs them.
set -eu
root=$1
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
while read -r place; do
  [ -e "$place" ] && [ ! -e "$root$place" ] || continue
  if [ -d "$place" ]; then
    mkdir -p "$root$place"
    mount --rbind -o ro "$place" "$root$place"
  else
    mkdir -p "$(dirname "$root$place")"
    cp "$place" "$root$place"
  fi
done <"$root/pip-places"
cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 sh /inside.sh "$2" "$3"

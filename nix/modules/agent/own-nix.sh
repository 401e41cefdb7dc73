# Give the container a nix of its own: own-nix.sh DIRECTORY [REGISTRATION]. Run by the container's root before its daemon.
#
# /nix/store becomes what the host has, read-only, below a layer of the container's; /nix/var becomes the container's.
# DIRECTORY holds both, and is emptied: the host may have collected since what a layer of an earlier start was made for.
# REGISTRATION is what nixpkgs' closureInfo writes: the paths of the host that the container's nix takes for valid.
set -eu
own=$1
rm -rf "$own"
mkdir -p "$own/store" "$own/work" "$own/var/nix/daemon-socket"
chgrp nixbld "$own/store" 2>/dev/null || true
chmod 1775 "$own/store"
mount -t overlay nix -o "userxattr,lowerdir=/nix/store,upperdir=$own/store,workdir=$own/work" /nix/store
mount --bind "$own/var" /nix/var
[ -z "${2:-}" ] || NIX_REMOTE=local nix-store --load-db <"$2/registration"

#!/bin/sh
# systemd-nspawn 252.39 (Debian 12): programs in a container have no Landlock, and `--system-call-filter=@sandbox` does not help.
#
# Its list of allowed system calls has none of the three of Landlock. The group @sandbox, which has them in later versions of
# systemd, is no group that this one knows: it says so in one line, and goes on without. The calls by their names are taken. So a
# program that confines itself where it can runs unconfined in such a container, and nothing in the container's log says it.
#
# Seen on 2026-12-01 (Linux 6.18; the ABI outside is 7):
#   no option:                                      -1, errno 1 (EPERM)
#   --system-call-filter=@sandbox:                  Failed to add rule for system call @sandbox on x86-64, ignoring: Invalid
#                                                   argument; then -1, errno 1
#   --system-call-filter=landlock_create_ruleset:   7
#
# Needs root, dpkg-deb and a kernel with Landlock. Takes the pinned packages into a temporary folder and starts a container over
# this machine's / that keeps nothing. Ends with 1 if the behaviour changes.
set -eu
VERSION=252.39-1~deb12u2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get download "systemd-container=$VERSION" "libsystemd-shared=$VERSION" >/dev/null 2>&1
for package in ./*.deb; do
    dpkg-deb -x "$package" files
done
shared=$(find "$folder/files" -name 'libsystemd-shared-*.so')
cat >probe.py <<'PYTHON'
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
abi = libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))  # landlock_create_ruleset: ask for the version
print(abi if abi >= 0 else f"errno {ctypes.get_errno()}")
PYTHON
python=/usr/bin/python3

inside() {
    LD_LIBRARY_PATH=$(dirname "$shared") timeout 60 files/usr/bin/systemd-nspawn --quiet --register=no --keep-unit \
        --volatile=yes --directory=/ --bind-ro="$folder" "$@" "$python" "$folder/probe.py" 2>&1 | tr -d '\r' | grep -v 'nspawn/propagate' || true
}

outside=$("$python" probe.py)
none=$(inside)
group=$(inside --system-call-filter=@sandbox)
named=$(inside --system-call-filter=landlock_create_ruleset)
printf 'outside: %s\nno option: %s\n@sandbox: %s\nby name: %s\n' "$outside" "$none" "$group" "$named"
[ "$outside" -ge 1 ]
[ "$none" = "errno 1" ]
case $group in *"@sandbox"*"ignoring"*"errno 1") ;; *) exit 1 ;; esac
[ "$named" = "$outside" ]

#!/bin/sh
# Runs a command with a /tmp of its own that is in memory.
#
# The tests make thousands of databases and repos there, and hive waits for the disk at each commit of each: half of the
# time of the tests of sockets and HTTP was that. It needs root, a mount namespace and memory, and a checkout and a
# Python that are not below /tmp. Without one of them the command runs on the disk, which only takes longer.
#
#   in-memory-tmp.sh COMMAND [ARGUMENT...]      HIVE_TESTS_ON_DISK=1 leaves /tmp as it is
set -eu
least_mib=8192

outside() { case "$(readlink -f "$1")/" in /tmp/*) return 1 ;; esac }
room() { [ "$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)" -ge "$least_mib" ]; }

if [ -z "${HIVE_TESTS_ON_DISK:-}" ] && [ "$(id -u)" = 0 ] && outside . && outside "$1" && outside "${HOME:-/}" \
  && room && unshare --mount --propagation private mount -t tmpfs hive-tests /tmp 2>/dev/null; then
  exec unshare --mount --propagation private sh -c \
    'mount -t tmpfs -o size=50%,mode=1777 hive-tests /tmp && exec "$@"' in-memory-tmp "$@"
fi
exec "$@"

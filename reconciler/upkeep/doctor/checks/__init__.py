"""What `hive doctor` looks at, one subject a file. The table is in reconciler/upkeep/doctor/examine.py.

agents    those that need somebody
base      the shapes: what is examined, what is found, what can be mended
host      programs, control groups, limits, disk, clock
places    directories, permissions, locks, records, leftovers, orphans
systemd   the system bus, where backend nixos runs
truth     meta, git fsck, tags against meta, cards against tags, the database
proposed  work trees and push repos, from outside
running   the daemon, its sockets, the containers' records
"""

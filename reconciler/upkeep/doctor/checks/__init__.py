"""The checks of `hive doctor`, one subject a file. Their table is in reconciler/upkeep/doctor/examine.py.

agents    agents that failed or need an operator, and the notes of `hive status`
base      the types: the subject of an examination, and a finding with its repair
clock     whether the clock is synchronised, and whether it jumped
host      programs, control groups, limits, disk, clock, root helper
places    directories, permissions, locks, records, leftovers
proposed  work trees and push repos, from outside
running   the daemon, its sockets, the containers' records
systemd   the system bus, for backend nixos
truth     meta, git fsck, tags against meta, cards against tags, the database
"""

# What NixOS has for people, desktops and machines, and an agent's container has not. An agent.nix may bring each back.
# Each line is for the releases of NixOS that have its option: some are younger than the oldest that hive works with.
{ lib, options, ... }:
let
  set =
    path: value:
    # stronger than a default of NixOS' own, weaker than a line in agent.nix
    lib.optionalAttrs (lib.hasAttrByPath path options) (lib.setAttrByPath path (lib.mkOverride 900 value));
  off = path: set (path ++ [ "enable" ]) false;
in
{
  config = lib.mkMerge [
    # without it NixOS remounts /proc, /run and /dev at each boot, and a user namespace may not
    (set [ "boot" "isNspawnContainer" ] true)

    # nothing inside gains rights by a program: the harness runs under NoNewPrivileges
    (set [ "security" "enableWrappers" ] false)
    (off [ "security" "sudo" ])

    # hive keeps the lines on the host; inside they are in memory, with the bound of journald.conf.d/hive.conf
    (set [ "services" "journald" "storage" ] "volatile")

    (set [ "environment" "defaultPackages" ] [ ])
    (off [ "environment" "stub-ld" ])
    (off [ "programs" "command-not-found" ])
    (off [ "programs" "nano" ])
    (set [ "system" "disableInstallerTools" ] true)
    (set [ "boot" "enableContainers" ] false)
    (off [ "documentation" ])
    (off [ "services" "logrotate" ])
    (off [ "services" "udisks2" ])
    (off [ "services" "lvm" ])
    (off [ "fonts" "fontconfig" ])
    (off [ "xdg" "autostart" ])
    (off [ "xdg" "icons" ])
    (off [ "xdg" "menus" ])
    (off [ "xdg" "mime" ])
    (off [ "xdg" "sounds" ])
  ];
}

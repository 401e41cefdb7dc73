# What a NixOS has if nothing is said: options of NixOS that hive's templates turn off, each with the packages that it
# brings to environment.systemPackages (names read in nixpkgs, 24.11 to 25.11). They are counted and never built.
{ lib, config, ... }:
let
  inherit (lib) mkOption types;
  on = mkOption {
    type = types.bool;
    default = true;
  };
  off = mkOption {
    type = types.bool;
    default = false;
  };
  core = [
    "acl"
    "attr"
    "bash-interactive"
    "bzip2"
    "coreutils-full"
    "cpio"
    "curl"
    "diffutils"
    "findutils"
    "gawk"
    "getconf"
    "getent"
    "glibc"
    "gnugrep"
    "gnupatch"
    "gnused"
    "gnutar"
    "gzip"
    "less"
    "libcap"
    "mkpasswd"
    "ncurses"
    "netcat"
    "openssh"
    "procps"
    "su"
    "time"
    "util-linux"
    "which"
    "xz"
    "zstd"
  ];
  brings = flag: names: lib.optionals flag names;
in
{
  options = {
    boot.isNspawnContainer = off;
    environment.defaultPackages = mkOption {
      type = types.listOf types.str;
      default = [
        "perl"
        "rsync"
        "strace"
      ];
    };
    environment.stub-ld.enable = on;
    environment.counted = mkOption {
      type = types.listOf types.str;
    };
    fonts.fontconfig.enable = on;
    programs.command-not-found.enable = on;
    programs.nano.enable = on;
    security.enableWrappers = on;
    services.journald.storage = mkOption {
      type = types.enum [
        "persistent"
        "volatile"
        "auto"
        "none"
      ];
      default = "persistent";
    };
    services.logrotate.enable = on;
    services.lvm.enable = on;
    services.udisks2.enable = off;
    xdg.autostart.enable = on;
    xdg.icons.enable = on;
    xdg.menus.enable = on;
    xdg.mime.enable = on;
    xdg.sounds.enable = on;
  };
  config.environment.counted =
    core
    ++ config.environment.defaultPackages
    ++ map (package: package.name) config.environment.systemPackages
    ++ brings config.documentation.enable [
      "man-db"
      "nixos-configuration-reference-manpage"
      "nixos-help"
      "texinfo-interactive"
    ]
    ++ brings config.fonts.fontconfig.enable [ "fontconfig" ]
    ++ brings config.programs.command-not-found.enable [ "command-not-found" ]
    ++ brings config.programs.nano.enable [ "nano" ]
    ++ brings config.security.sudo.enable [ "sudo" ]
    ++ brings config.services.logrotate.enable [ "logrotate" ]
    ++ brings config.services.lvm.enable [ "lvm2" ]
    ++ brings config.xdg.icons.enable [ "hicolor-icon-theme" ]
    ++ brings config.xdg.mime.enable [
      "shared-mime-info"
      "desktop-file-utils"
    ]
    ++ brings config.xdg.sounds.enable [ "sound-theme-freedesktop" ]
    ++ brings config.nix.enable [
      "nix"
      "nix-info"
    ]
    ++ brings config.boot.enableContainers [ "nixos-container" ]
    ++ brings (!config.system.disableInstallerTools) [
      "nixos-build-vms"
      "nixos-enter"
      "nixos-generate-config"
      "nixos-install"
      "nixos-option"
      "nixos-rebuild"
      "nixos-version"
    ];
}

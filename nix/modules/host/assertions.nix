# Reject settings that cannot work before the build, each with the remedy.
{ config, lib, ... }:
let
  cfg = config.services.hive;
  plain = path: builtins.match "(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+" (toString path) != null;
  below = parent: path: lib.hasPrefix "${parent}/" (toString path);
  within = parents: path: builtins.any (parent: toString path == parent || below parent path) parents;
  oldest = import ../../packages/oldest.nix;
  names = lib.concatStringsSep ", ";
  undeclared = builtins.filter (name: !(config.users.users ? ${name})) cfg.operators;
in
{
  config = lib.mkIf cfg.enable {
    # mutable users may be made by hand, or come from a directory service
    warnings = lib.optional (undeclared != [ ] && config.users.mutableUsers) ''
      services.hive.operators names ${names undeclared}, and users.users has no such user; if the host does not have that user otherwise, correct the name.
    '';

    assertions = [
      {
        assertion = lib.versionAtLeast lib.trivial.release oldest;
        message = "this nixpkgs is ${lib.trivial.release}, and services.hive needs ${oldest} or later; update it, for example inputs.nixpkgs.url = \"github:NixOS/nixpkgs/nixos-${oldest}\" with `nix flake update nixpkgs`.";
      }
      {
        assertion = plain cfg.stateDir;
        message = "services.hive.stateDir = \"${toString cfg.stateDir}\" has characters that cannot stand in a container's settings; use a plain path such as \"/var/lib/hyperhive\".";
      }
      {
        assertion =
          !within [
            "/home"
            "/root"
            "/run"
            "/tmp"
            "/var/run"
            "/var/tmp"
          ] cfg.stateDir;
        message = "services.hive.stateDir = \"${toString cfg.stateDir}\" is a place that the daemon does not see or that is emptied at boot; use one below /var/lib, or mount your disk at \"/var/lib/hyperhive\".";
      }
      {
        # hive gives the directory to itself, and lets others pass through it
        assertion =
          !within [
            "/bin"
            "/boot"
            "/dev"
            "/etc"
            "/nix"
            "/proc"
            "/sys"
            "/usr"
            "/var/lib/hive-privileged"
            "/var/lib/nixos"
            "/var/lib/nixos-containers"
            "/var/lib/private"
            "/var/lib/systemd"
            "/var/log"
          ] cfg.stateDir
          && !builtins.elem (toString cfg.stateDir) [
            "/var"
            "/var/cache"
            "/var/lib"
          ];
        message = "services.hive.stateDir = \"${toString cfg.stateDir}\" has others' files, and hive would take the directory for its own; use one below /var/lib that nothing else has, such as \"/var/lib/hyperhive\".";
      }
      {
        assertion =
          !builtins.elem cfg.group [
            "nixbld"
            "nogroup"
            "root"
          ];
        message = "services.hive.group = \"${cfg.group}\" is a group of the system, and the members of hive's group are its operators; use one of its own, such as \"hive\".";
      }
      {
        assertion = below "/run" cfg.runtimeDir && plain cfg.runtimeDir;
        message = "services.hive.runtimeDir = \"${toString cfg.runtimeDir}\" is not below /run, where systemd makes and keeps it; use \"/run/hyperhive\".";
      }
      {
        assertion = cfg.backend != "nixos" || config.boot.enableContainers;
        message = "services.hive.backend = \"nixos\" needs NixOS containers, and your configuration sets boot.enableContainers to false; set it to true, or set services.hive.backend = \"local\" and builder = \"plain\".";
      }
      {
        assertion = cfg.backend != "nixos" || lib.versionAtLeast config.system.stateVersion "22.05";
        message = "system.stateVersion = \"${config.system.stateVersion}\" makes NixOS look for containers in /etc/containers, and hive writes /etc/nixos-containers; that needs 22.05 or later.";
      }
      {
        assertion = !config.boot.isContainer || cfg.backend != "nixos";
        message = "services.hive.backend = \"nixos\" runs containers and is itself in one; enable services.hive on the host, or use backend = \"local\".";
      }
      {
        assertion = (cfg.backend == "nixos") == (cfg.builder == "nix");
        message = "services.hive.backend = \"${cfg.backend}\" does not run what builder = \"${cfg.builder}\" builds; use \"nixos\" with \"nix\", or \"local\" with \"plain\".";
      }
      {
        assertion = cfg.builder != "nix" || config.nix.enable;
        message = "services.hive.builder = \"nix\" needs the nix daemon; remove `nix.enable = false`, or set builder = \"plain\" and backend = \"local\".";
      }
      {
        assertion = undeclared == [ ] || config.users.mutableUsers;
        message = "services.hive.operators names ${names undeclared}, and users.users has no such user; declare the user, or correct the name.";
      }
      {
        assertion = !(config.containers ? manager);
        message = "containers.manager is a container of yours, and hive's privileged agent has that name; rename yours.";
      }
    ];
  };
}

# Reject settings that cannot work before the build, each with the remedy.
{ config, lib, ... }:
let
  cfg = config.services.hive;
  plain = path: builtins.match "(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+" (toString path) != null;
  below = parent: path: lib.hasPrefix "${parent}/" (toString path);
  allowed = config.nix.settings.allowed-users or [ "*" ];
  # nix takes a list, or words in one string
  words =
    value:
    if builtins.isList value then
      lib.concatMap words value
    else
      builtins.filter (word: builtins.isString word && word != "") (builtins.split "[ \t\n]+" value);
  trusted = lib.concatMap (key: words (config.nix.settings.${key} or [ ])) [
    "trusted-users"
    "extra-trusted-users"
  ];
  hasHive =
    group:
    group == cfg.group
    || builtins.elem "hive" (config.users.groups.${group}.members or [ ])
    || builtins.elem group config.users.users.hive.extraGroups;
  isHive =
    name:
    name == "*" || name == "hive" || (lib.hasPrefix "@" name && hasHive (lib.removePrefix "@" name));
  trustedHive = builtins.filter isHive trusted;
  oldest = import ../../packages/oldest.nix;
  undeclared = builtins.filter (name: !(config.users.users ? ${name})) cfg.operators;
in
{
  config = lib.mkIf cfg.enable {
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
          !builtins.any (parent: below parent cfg.stateDir) [
            "/home"
            "/root"
            "/run"
            "/tmp"
            "/var/tmp"
          ];
        message = "services.hive.stateDir = \"${toString cfg.stateDir}\" is a place that the daemon does not see or that is emptied at boot; use one below /var/lib, or mount your disk at \"/var/lib/hyperhive\".";
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
        assertion =
          cfg.builder != "nix"
          || builtins.any (one: builtins.elem one allowed) [
            "*"
            "hive"
            "@${cfg.group}"
          ];
        message = "nix.settings.allowed-users keeps the user hive from building; add \"hive\" to it.";
      }
      {
        assertion = trustedHive == [ ];
        message = "nix.settings.trusted-users makes hive as mighty as root, and hive evaluates what agents write; remove ${
          lib.concatMapStringsSep " and " (name: "\"${name}\"") trustedHive
        } from it and from extra-trusted-users.";
      }
      {
        assertion = undeclared == [ ] || config.users.mutableUsers;
        message = "services.hive.operators names ${lib.concatStringsSep ", " undeclared}, and users.users has no such user; declare the user, or correct the name.";
      }
      {
        assertion = !(config.containers ? manager);
        message = "containers.manager is a container of yours, and hive's privileged agent has that name; rename yours.";
      }
    ];
  };
}

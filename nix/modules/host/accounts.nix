# The user and the group, the directories, the command, and the git settings of the user hive.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hive;
  state = toString cfg.stateDir;
  # For nix, which reads safe.directory from HOME's gitconfig alone. No path of an agent is in it, because hive never
  # opens a proposed work tree.
  gitconfig = pkgs.writeText "hive-gitconfig" ''
    [safe]
    	directory = ${state}/meta
    	directory = ${state}/meta/.git
    	directory = ${state}/applied/*
  '';
in
{
  config = lib.mkIf cfg.enable {
    users.groups.${cfg.group}.members = cfg.operators;
    users.users.hive = {
      isSystemUser = true;
      group = cfg.group;
      home = "${state}/home";
      description = "the daemon of hive";
    };

    environment.systemPackages = [ cfg.package ];
    environment.variables = {
      HIVE_STATE = state;
      HIVE_RUNTIME = toString cfg.runtimeDir;
    };

    systemd.tmpfiles.rules = [
      # others may pass through (agents have their own uids), but not list it
      "d ${state} 0711 hive ${cfg.group} - -"
      "d ${state}/home 0700 hive ${cfg.group} - -"
      "L+ ${state}/home/.gitconfig - - - - ${gitconfig}"
    ];
  };
}

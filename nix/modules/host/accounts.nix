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
  # For nix, which looks at the owner of a repository in HOME's gitconfig alone. Nothing of an agent's is in it:
  # hive never opens a proposed work tree.
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
      # others may pass (agents have uids of their own), not look
      "d ${state} 0711 hive ${cfg.group} - -"
      "d ${state}/home 0700 hive ${cfg.group} - -"
      "L+ ${state}/home/.gitconfig - - - - ${gitconfig}"
    ];
  };
}

# Credentials that the host gives to the agent: services.hive.credentials there, the ids here. Secrets are in neither.
{ config, lib, ... }:
let
  cfg = config.hive.agent;
in
{
  options.hive.agent.credentials = lib.mkOption {
    type = lib.types.listOf (lib.types.strMatching "[A-Za-z][A-Za-z0-9_-]{0,63}");
    default = [ ];
    example = [ "github-token" ];
    description = ''
      The credentials that the agent needs, by id. They are files in `$CREDENTIALS_DIRECTORY` of the harness and its
      programs. The agent does not start before the host gives it all of them (`services.hive.credentials`).
    '';
  };

  config = lib.mkIf (cfg.enable && cfg.credentials != [ ]) {
    # each unit has a folder of its own, for its user alone
    systemd.services."hive-cli@" = lib.mkIf (cfg.settings.runtime != "script") {
      serviceConfig.LoadCredential = cfg.credentials;
    };
    # read by hive's root helper before a start
    environment.etc."hive/credentials.json".text = builtins.toJSON cfg.credentials;
    # without a path: what systemd-nspawn passed to the container's systemd
    systemd.services.hive-harness.serviceConfig.LoadCredential = cfg.credentials;
  };
}

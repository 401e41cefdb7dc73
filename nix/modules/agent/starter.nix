# The coding agent under another user than the harness, unless the runtime is "script", which starts none.
#   hive-cli.socket     only the harness's user can connect; each connection starts one CLI
#   hive-cli@.service   the CLI, under `hive.agent.user`, which cannot enter /run/hive; systemd ends all that it started
#   /run/hive-cli       files that the harness writes for the CLI; /state/.hive is the harness's own (harness/owners.py)
{ config, lib, ... }:
let
  cfg = config.hive.agent;
  apart = cfg.enable && cfg.settings.runtime != "script" && cfg.user != "root";
  harness = "hive-harness";
  # the group of both: the harness reads and writes in /state, the CLI reads what the harness writes for it
  group = "hive-cli";
  # fixed, since /state outlives the container's own list of users; above those of people, below those of systemd
  id = 60600;
  starter = "/run/hive-starter";
  files = "/run/hive-cli";
  owners = user: ofBoth: "+${cfg.package}/bin/hive-harness owners /state ${user} ${cfg.user} ${ofBoth}";
in
{
  config = lib.mkMerge [
    (lib.mkIf (cfg.enable && cfg.user != "root") {
      systemd.services.hive-harness = {
        environment.HIVE_OWN = "/state/.hive";
        # `+`: as root
        serviceConfig.ExecStartPre = if apart then owners harness group else owners cfg.user "users";
      };
    })
    (lib.mkIf apart {
      users.groups.${group}.gid = id;
      users.users = {
        ${harness} = {
          isSystemUser = true;
          uid = id;
          inherit group;
        };
        ${cfg.user}.extraGroups = [ group ];
      };

      systemd.tmpfiles.rules = [
        "d ${starter} 0700 ${harness} ${group} - -"
        "d ${files} 2750 ${harness} ${group} - -"
      ];

      systemd.sockets.hive-cli = {
        description = "starts the coding agent for the harness of ${config.networking.hostName}";
        listenStreams = [ "${starter}/starter.sock" ];
        socketConfig = {
          Accept = true;
          SocketUser = harness;
          SocketGroup = group;
          SocketMode = "0600";
          MaxConnections = 16;
        };
      };

      systemd.services."hive-cli@" = {
        description = "the coding agent of ${config.networking.hostName}";
        # when the container stops, the harness ends the CLI
        before = [ "hive-harness.service" ];
        unitConfig.CollectMode = "inactive-or-failed";
        restartIfChanged = false;
        serviceConfig = {
          ExecStart = "${cfg.package}/bin/hive-harness cli";
          User = cfg.user;
          Group = "users";
          SupplementaryGroups = group;
          SyslogIdentifier = "hive-cli";
          # the harness asked the CLI to end before it disconnects; what is left then is killed
          KillMode = "control-group";
          KillSignal = "SIGKILL";
          TimeoutStopSec = 5;
          # a tool that takes too much memory is killed alone
          OOMPolicy = "continue";
          # the container's own limit counts
          TasksMax = "infinity";
          NoNewPrivileges = true;
          # hive reads the manager's work trees, and the harness what the CLI writes in /state
          UMask = if cfg.role == "manager" then "0022" else "0027";
        }
        // builtins.fromJSON (builtins.readFile ./seccomp.json);
      };

      systemd.services.hive-harness = {
        requires = [ "hive-cli.socket" ];
        after = [ "hive-cli.socket" ];
        environment = {
          HIVE_CLI_STARTER = "${starter}/starter.sock";
          HIVE_CLI_FILES = files;
        };
      };
    })
  ];
}

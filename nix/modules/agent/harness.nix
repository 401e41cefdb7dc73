# hive-harness.service, its user, and the places that hive binds into the container.
#   /state      the agent's files               /run/hive   sockets, and launch.env
#   /home/agent its home (credentials)          /etc/hive   agent.toml
#   /run/egress the way out: its socket         /run/pods   the sockets of its pods
{ config, lib, ... }:
let
  cfg = config.hive.agent;
  # starter.nix: the coding agent has another user than the harness
  apart = cfg.settings.runtime != "script";
  home = "/home/agent";
in
{
  config = lib.mkIf cfg.enable {
    # not for root, whose uid and home NixOS defines: those would clash before the assertion could say what is wrong
    users.users = lib.mkIf (cfg.user != "root") {
      ${cfg.user} = {
        isNormalUser = true;
        inherit (cfg) uid;
        inherit home;
        group = "users";
        createHome = false;
      };
    };

    # The binds belong to the container's root at first; the home becomes the user's. /state: see starter.nix.
    systemd.tmpfiles.rules = [ "d ${home} 0700 ${cfg.user} users - -" ];

    # `hive shell` and `hive workspace` run it, and git's ssh goes through the way out by it
    environment.systemPackages = [ cfg.package ];

    # hive reads a container's log from its unit on the host, so the journal must go to the console.
    environment.etc."systemd/journald.conf.d/hive.conf".text = ''
      [Journal]
      ForwardToConsole=yes
      MaxLevelConsole=info
      RateLimitIntervalSec=30s
      RateLimitBurst=2000
      SystemMaxUse=64M
      RuntimeMaxUse=16M
    '';

    systemd.services.hive-harness = {
      description = "the harness of ${config.networking.hostName}";
      wantedBy = [ "multi-user.target" ];
      after = [ "systemd-tmpfiles-setup.service" ];
      path = cfg.packages ++ lib.optional (cfg.cli.package != null) cfg.cli.package ++ [ "/run/current-system/sw" ];
      environment = {
        HIVE_AGENT = config.networking.hostName;
        HIVE_ROLE = cfg.role;
        HIVE_CONFIG = "/etc/hive";
        HIVE_RUN = "/run/hive";
        HIVE_STATE = "/state";
        HIVE_AGENTS = "/agents";
        # fixed, because the network namespace is the container's own: tools find the way out at the same place for ever
        HIVE_EGRESS_PORT = "3128";
        HOME = home;
      }
      // cfg.environment;
      # If the harness ends, the container ends too: hive counts that, waits, and starts it again.
      unitConfig = {
        FailureAction = "exit";
        SuccessAction = "exit";
      };
      restartIfChanged = false;

      serviceConfig = {
        ExecStart = "${cfg.package}/bin/hive-harness serve";
        # HIVE_GENERATION and HIVE_BOOT_NONCE of this start, written by hive before it starts the container
        EnvironmentFile = "/run/hive/launch.env";
        User = if apart then "hive-harness" else cfg.user;
        Group = if apart then "hive-cli" else "users";
        # the sockets belong to the container's root group
        SupplementaryGroups = "root";
        WorkingDirectory = "/state";
        # hive finds the harness's lines in the container's log by this
        SyslogIdentifier = "hive-harness";
        # more is left out, and the journal reports how much: an agent's output must not fill a disk or a processor
        LogRateLimitIntervalSec = "30s";
        LogRateLimitBurst = 2000;
        Restart = "no";
        TimeoutStopSec = 30;
        # with sub-agents the main process is a keeper, which passes the TERM on; what it leaves is killed
        KillMode = "mixed";
        NoNewPrivileges = true;
        # hive is not root and reads the proposed work trees that the script of a manager writes
        UMask = if cfg.role == "manager" && !apart then "0022" else "0077";
      }
      # the calls and socket families that every sandbox of hive refuses: written from meta/process/seccomp/table.py by
      # `python -m tests.nix.generate`
      // builtins.fromJSON (builtins.readFile ./seccomp.json);
    };
  };
}

# hive.service: the daemon, as the user hive, without any capability.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hive;
  state = toString cfg.stateDir;
  runtime = toString cfg.runtimeDir;

  # The daemon listens on unix sockets, and on one port if there is a dashboard. It connects to a network for notifications, for traces and to fetch flakes
  # that are elsewhere; agents of backend `local` are its children and may have its network.
  unset = value: value == null || value == "";
  here = url: unset url || lib.hasPrefix "path:" url || lib.hasPrefix "git+file:" url || lib.hasPrefix "/" url;
  needsNetwork =
    cfg.backend == "local"
    || config.systemd.services.hive.environment ? OTEL_EXPORTER_OTLP_ENDPOINT
    || !unset cfg.settings.notify
    || !unset cfg.settings.notify_file
    || !here cfg.settings.nixpkgs
    || !here cfg.settings.hyperhive
    || !here cfg.settings.agent_modules;

  isSet = value: value != null && value != "" && value != 0;
  hasDashboard = isSet cfg.settings.dashboard_port;
  address = cfg.settings.dashboard_address;
  isLocal = !isSet address || lib.hasPrefix "127." address || address == "::1" || address == "localhost";
in
{
  config = lib.mkIf cfg.enable {
    systemd.services.hive = {
      description = "hive: keeps coding agents equal to git";
      wantedBy = [ "multi-user.target" ];
      wants = [ "hive-egress.service" ] ++ lib.optional (cfg.backend == "nixos") "hive-privileged.socket";
      after = [
        "hive-egress.service"
        "network.target"
        "nix-daemon.socket"
      ]
      ++ lib.optional (cfg.backend == "nixos") "hive-privileged.socket";
      restartTriggers = [ config.environment.etc."hive/daemon.env".text ];
      # A switch of the host restarts it at the end, and does not stop it before the activation.
      stopIfChanged = false;
      # A daemon that keeps ending is restarted for ever, with growing delays: agents keep running and need it.
      startLimitIntervalSec = 0;

      path = [
        pkgs.git
        pkgs.bubblewrap
        pkgs.util-linux
      ]
      ++ lib.optional (cfg.builder == "nix") (
        if config.nix.package == null then pkgs.nix else config.nix.package
      );
      environment = {
        HOME = "${state}/home";
        HIVE_BACKEND = cfg.backend;
        HIVE_BUILDER = cfg.builder;
        HIVE_REVISION = cfg.revision;
        NIX_REMOTE = if cfg.builder == "nix" then "daemon" else null;
      };

      serviceConfig = {
        Type = "notify";
        NotifyAccess = "main";
        ExecStart = "${cfg.package}/bin/hive serve --state ${state} --runtime ${runtime}";
        # An older hive ran as root, and what it left is root's. As root, because the daemon may give nothing to itself.
        ExecStartPre = [ "-+${cfg.package}/bin/hive-privileged take-over --state ${state} --user hive" ];
        EnvironmentFile = "/etc/hive/daemon.env";
        User = "hive";
        Group = cfg.group;
        WorkingDirectory = state;
        RuntimeDirectory = lib.removePrefix "/run/" runtime;
        RuntimeDirectoryMode = "0755";
        # containers have the directories below it bound: a new directory would have another inode
        RuntimeDirectoryPreserve = "yes";
        UMask = "0022";

        Restart = "always";
        # a newer hive wrote the state directory: a start again changes nothing, a person has to (docs/howto/upgrade.md)
        RestartPreventExitStatus = 8;
        RestartSec = 1;
        RestartSteps = 6;
        RestartMaxDelaySec = 60;
        TimeoutStartSec = 180;
        TimeoutStopSec = 60;
        # Builds, fetches and evaluations end with the daemon, which ends them itself: with "control-group" they would get the
        # signal too, and the daemon would take their end for a failed build. Containers are units of their own.
        KillMode = if cfg.backend == "nixos" then "mixed" else "process";
        OOMPolicy = "continue";
        LimitNOFILE = 65536;

        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ReadWritePaths = [ state ];
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        PrivateMounts = true;
        ProtectClock = true;
        ProtectKernelModules = true;
        ProtectControlGroups = true;
        LockPersonality = true;
        RestrictRealtime = true;
        # no RestrictSUIDSGID: the push repos need setgid directories, so that members of the group push to each other's branches
        RemoveIPC = true;
        KeyringMode = "private";
        SystemCallArchitectures = "native";
        # Fetches and evaluations run in bubblewrap, which needs these namespaces, mounts, and netlink for its loopback.
        # A /proc with masks could not be mounted again inside: so no ProtectKernelTunables, ProtectKernelLogs,
        # ProtectProc or ProcSubset; and no ProtectHostname, because a sandbox has a host name of its own.
        RestrictNamespaces = "user mnt pid net ipc uts cgroup";
        RestrictAddressFamilies = "AF_UNIX AF_NETLINK" + lib.optionalString (needsNetwork || hasDashboard) " AF_INET AF_INET6";
        SystemCallFilter = [
          "@system-service"
          "@mount"
          "sethostname"
          "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap"
        ];
        SystemCallErrorNumber = "EPERM";
      }
      // lib.optionalAttrs (!needsNetwork && !hasDashboard) { PrivateNetwork = true; }
      // lib.optionalAttrs (!needsNetwork && isLocal) { IPAddressDeny = "any"; }
      // lib.optionalAttrs (!needsNetwork && hasDashboard && isLocal) { IPAddressAllow = "localhost"; }
      // lib.optionalAttrs (cfg.watchdog != null) { WatchdogSec = cfg.watchdog; };
    };
  };
}

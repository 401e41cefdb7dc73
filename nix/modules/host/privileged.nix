# hive-privileged: the root helper, a few verbs on validated names. Started by its socket, which only the user hive may use.
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
  etc = "/etc/nixos-containers";
  profiles = "/nix/var/nix/profiles/per-container";

  # The helper's whole command line, except the uids and the gid: NixOS chooses those at activation.
  arguments = [
    "--owner"
    "hive"
    "--etc"
    etc
    "--profiles"
    profiles
    "--state"
    state
    "--runtime"
    runtime
  ];
  start = pkgs.writeShellScript "hive-privileged-start" ''
    exec ${cfg.package}/bin/hive-privileged \
      --uid "$(${pkgs.coreutils}/bin/id -u hive)" --gid "$(${pkgs.coreutils}/bin/id -g hive)" \
      --egress-uid "$(${pkgs.coreutils}/bin/id -u hive-egress)" \
      ${lib.escapeShellArgs arguments}
  '';
in
{
  config = lib.mkIf (cfg.enable && cfg.backend == "nixos") {
    systemd.sockets.hive-privileged = {
      description = "the socket of hive's root helper";
      wantedBy = [ "sockets.target" ];
      listenStreams = [ "/run/hive-privileged/socket" ];
      socketConfig = {
        SocketUser = "hive";
        SocketGroup = "root";
        SocketMode = "0600";
        DirectoryMode = "0755";
        RemoveOnStop = true;
      };
    };

    # they must exist before the unit that may write to them
    systemd.tmpfiles.rules = [
      "d /run/systemd/system 0755 root root - -"
      "d ${etc} 0755 root root - -"
      "d /var/lib/nixos-containers 0700 root root - -"
      "d ${profiles} 0755 root root - -"
      "d /nix/var/nix/gcroots/per-container 0755 root root - -"
    ];

    systemd.services.hive-privileged = {
      description = "hive's root helper";
      requires = [ "hive-privileged.socket" ];
      after = [
        "hive-privileged.socket"
        "nix-daemon.socket"
      ];
      path = [
        pkgs.nixos-container
        (if config.nix.package == null then pkgs.nix else config.nix.package)
        pkgs.util-linux
      ];
      environment.NIX_REMOTE = "daemon";
      # As for the daemon. With true a switch would stop the socket too, for as long as the activation takes.
      stopIfChanged = false;

      serviceConfig = {
        Type = "exec";
        ExecStart = start;
        Restart = "on-failure";
        RestartSec = 1;
        TimeoutStopSec = 60;
        KillMode = "mixed";
        UMask = "0022";
        StateDirectory = "hive-privileged";
        StateDirectoryMode = "0700";

        # only to give directories to the containers' uids, and to make and remove a container's root
        CapabilityBoundingSet = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_LINUX_IMMUTABLE";
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ReadWritePaths = [
          state
          runtime
          etc
          profiles
          "/var/lib/nixos-containers"
          "/nix/var/nix/gcroots/per-container"
          "/run/systemd/system"
        ];
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        PrivateMounts = true;
        PrivateNetwork = true;
        IPAddressDeny = "any";
        ProtectProc = "invisible";
        ProtectClock = true;
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectControlGroups = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        RestrictNamespaces = true;
        RestrictRealtime = true;
        KeyringMode = "private";
        RestrictAddressFamilies = "AF_UNIX";
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@clock @cpu-emulation @debug @module @mount @obsolete @raw-io @reboot @swap"
        ];
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}

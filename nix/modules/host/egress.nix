# hive-egress.service: the one way out of the containers. It sees nothing of hive but the directories of its own sockets.
# docs/decisions/0030-own-process-for-the-way-out.md
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hive;
  net = cfg.network;
  runtime = toString cfg.runtimeDir;
  control = "/run/hive-egress/control.sock";
  # Agents of backend `local` have the daemon's uid, and no root gives directories to another user there.
  user = if cfg.backend == "nixos" then "hive-egress" else "hive";
  file =
    if net.file == null then
      "/etc/hive/network.toml"
    # a literal is copied into the store, which is as it should be: the file has no secrets
    else if builtins.isPath net.file then
      "${net.file}"
    else
      net.file;

  arguments = [
    "--sockets"
    "${runtime}/egress"
    "--control"
    control
    "--state"
    "/var/lib/hive-egress"
    "--network"
    file
  ]
  ++ lib.optionals (cfg.revision != null) [
    "--revision"
    cfg.revision
  ];
  # NixOS chooses the daemon's uid at activation
  start = pkgs.writeShellScript "hive-egress-start" ''
    exec ${cfg.package}/bin/hive-egress --daemon-uid "$(${pkgs.coreutils}/bin/id -u hive)" ${lib.escapeShellArgs arguments}
  '';
  ceiling = if net.ceiling == null then null else lib.concatStringsSep " " net.ceiling;
  keys = lib.attrNames net.credentials;
  settings = {
    HIVE_EGRESS_START = "false";
    HIVE_EGRESS_CONTROL = control;
    HIVE_NETWORK_FILE = file;
  }
  // lib.optionalAttrs (ceiling != null) { HIVE_NETWORK_CEILING = ceiling; };
in
{
  config = lib.mkIf cfg.enable {
    # the daemon may connect to the control socket by this group, and no operator and no other user may
    users.groups.hive-egress.members = [ "hive" ];
    users.users.hive-egress = lib.mkIf (cfg.backend == "nixos") {
      isSystemUser = true;
      group = "hive-egress";
      description = "the way out of hive's containers";
    };

    # Running containers have directories below it bound, so nothing ever removes it. At boot it is there before both units.
    systemd.tmpfiles.rules = [
      "d ${runtime} 0755 hive ${cfg.group} - -"
      "d ${runtime}/egress 0711 hive ${cfg.group} - -"
    ];

    systemd.services.hive.environment = settings;
    # for `hive doctor`, which looks for itself
    environment.variables = settings;

    systemd.services.hive-egress = {
      description = "the way out of hive's containers";
      wantedBy = [ "multi-user.target" ];
      # the daemon wants it and starts after it, and nothing more: either restarts without the other
      before = [ "hive.service" ];
      after = [
        "network.target"
        "nss-lookup.target"
        "systemd-tmpfiles-setup.service"
      ];
      stopIfChanged = false;
      # agents wait while it is down
      startLimitIntervalSec = 0;
      environment.HIVE_NETWORK_CEILING = ceiling;

      serviceConfig = {
        Type = "exec";
        ExecStart = start;
        User = user;
        Group = "hive-egress";
        Restart = "always";
        RestartSec = 1;
        TimeoutStopSec = 20;
        SyslogIdentifier = "hive-egress";
        UMask = "0077";
        StateDirectory = "hive-egress";
        StateDirectoryMode = "0700";
        RuntimeDirectory = "hive-egress";
        RuntimeDirectoryMode = "0750";
        LoadCredential = map (name: "${name}:${net.credentials.${name}.file}") keys;
        # what counts if a file is missing, so that the route of that key is closed and not the way out
        SetCredential = map (name: "${name}:\\n") keys;

        # two descriptors for each tunnel, of every agent
        LimitNOFILE = 131072;
        MemoryMax = "1G";
        # its own threads and 32 that ask the resolver, and one for each agent whose names are never answered
        TasksMax = 1024;

        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        # of hive's runtime directory it has its own part, and of the state directory nothing
        TemporaryFileSystem = "${runtime}:ro";
        BindPaths = "${runtime}/egress";
        InaccessiblePaths = [
          "-${toString cfg.stateDir}"
          "-/run/hive-privileged"
          "-/nix/var/nix"
          "-/var/lib/hive-privileged"
        ];
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        PrivateMounts = true;
        # not PrivateUsers: the uid of who connects to the control socket would not be seen
        ProtectProc = "invisible";
        ProcSubset = "pid";
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
        RestrictSUIDSGID = true;
        RemoveIPC = true;
        KeyringMode = "private";
        # netlink: the resolver sorts addresses by the host's own, and hive-egress asks which are the host's own
        RestrictAddressFamilies = "AF_UNIX AF_INET AF_INET6 AF_NETLINK";
        # it connects, and listens on unix sockets only. So it knows the host's own addresses by netlink, not by a bind
        SocketBindDeny = "any";
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged"
        ];
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}

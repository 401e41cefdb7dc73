# The module of the host in many configurations: { evaluated, asserted, refused }.
{
  hyperhive,
  module ? null,
}:
let
  lib = import ./stub-nixpkgs/lib;
  pkgsFor = system: import ./stub-nixpkgs/pkgs.nix { inherit lib system; };
  system = systemOf { };
  systemOf =
    specialArgs: module:
    (import ./stub-nixpkgs/nixos { inherit lib pkgsFor; } {
      inherit specialArgs;
      system = "x86_64-linux";
      modules = [
        ../../nix/modules/hive.nix
        { services.hive.settings.hyperhive = lib.mkOverride 900 hyperhive; }
        module
      ];
    }).config;
  hive = settings: { services.hive = { enable = true; } // settings; };

  view = config: {
    units = config.systemd.stub.units;
    wanted = lib.mapAttrs (_: one: one.wantedBy) (config.systemd.services // config.systemd.sockets);
    tmpfiles = config.systemd.tmpfiles.rules;
    settings = config.environment.etc."hive/daemon.env".text or null;
    credentials = config.environment.etc."hive/credentials.json".text or null;
    notifyCheck = map (one: one.content) (builtins.filter builtins.isAttrs (config.systemd.services.hive.serviceConfig.ExecStartPre or [ ]));
    declared = config.environment.etc."hive/agents.json".text or null;
    variables = config.environment.variables;
    user = config.users.users.hive or null;
    groups = config.users.groups;
    packages = map toString config.environment.systemPackages;
    containers = config.boot.enableContainers;
    restarts = (config.systemd.services."container@" or { restartIfChanged = null; }).restartIfChanged;
    stops = lib.mapAttrs (_: one: one.stopIfChanged) config.systemd.services;
    helper = (config.systemd.services.hive-privileged or { serviceConfig.ExecStart.content = null; })
      .serviceConfig.ExecStart.content;
    egress = (config.systemd.services.hive-egress or { serviceConfig.ExecStart.content = null; })
      .serviceConfig.ExecStart.content;
    ports = config.networking.firewall.allowedTCPPorts;
    network = config.environment.etc."hive/network.toml".text or null;
    failed = map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
    inherit (config) warnings;
  };
  tried = value: builtins.tryEval (builtins.deepSeq value value);
in
{
  evaluated = lib.mapAttrs (_: module: view (system module)) {
    off = { };
    plain = hive { };
    moved = hive {
      stateDir = "/srv/hive";
      runtimeDir = "/run/hive-two";
      group = "swarm";
      operators = [ "ada" "grace" ];
      revision = "abc";
      watchdog = 90;
    };
    configured = hive {
      settings = {
        builds = 4;
        resync = 0.5;
        health_deadline = 120;
        prebuild = true;
        isolation = "required";
        nixpkgs = "path:/a \"quoted\" $place%";
      };
    };
    notifying = hive { settings.notify_file = "/run/secrets/notify"; };
    dashing = hive { dashboard.enable = true; };
    dashingAll = hive {
      dashboard = {
        enable = true;
        port = 8443;
        address = "100.64.0.7";
        origin = "https://bee.example:8443";
        tls.certificate = "/var/lib/certs/bee.crt";
        tls.key = "/var/lib/certs/bee.key";
        openFirewall = true;
      };
    };
    dashingBySetting = hive { settings.dashboard_port = 8000; };
    fetching = hive { settings.nixpkgs = "github:NixOS/nixpkgs/nixos-26.05"; };
    sharing = hive { settings.agent_modules = "github:example/modules"; };
    tracing = hive { } // {
      systemd.services.hive.environment.OTEL_EXPORTER_OTLP_ENDPOINT = "http://collector:4318";
    };
    local = hive {
      backend = "local";
      builder = "plain";
    };
    flaked = hive { } // {
      nixpkgs.flake.source = "/the/nixpkgs";
    };
    secretive = hive {
      credentials = {
        alice.github-token = "/run/secrets/alice-github";
        alice.npm_token = "/run/agenix/npm";
        manager.deploy = "/var/lib/secrets/deploy.key";
      };
    };
    reaching = hive {
      network = {
        ceiling = [ "*.example.org" "@python" "[2001:db8::1]:443" ];
        groups.python = [ "pypi.org" "files.pythonhosted.org:443" ];
        private = [ "registry.corp:443" "192.168.1.5:8080" ];
        hosts."registry.corp" = "10.1.2.3";
        limits = { connections = 64; bytes_per_second = 1000000; idle_seconds = 1200; };
        credentials.anthropic.file = "/run/secrets/anthropic";
        credentials.github = {
          kind = "git";
          file = "/run/agenix/github";
          agents = [ "alice" ];
          user = "ada";
        };
        credentials.corp = {
          kind = "http";
          file = "/var/lib/secrets/corp.key";
          upstream = "https://api.corp:8443";
          header = "x-corp-key";
          value = "{key}";
          paths = [ "GET /v1/" "POST /v1/jobs" ];
        };
      };
    };
    ownFile = hive { network = { file = "/etc/hive-network.toml"; ceiling = [ "@python" ]; }; };
    declaring = { pkgs, ... }: {
      services.hive = {
        enable = true;
        agents.alice = {
          settings = {
            label = "Alice";
            script = [ { when = "ping"; reply = "pong"; } ];
          };
          module = ../../meta/templates/agent/agent.nix;
        };
        agents.bob = { };
        agentModules = [ ./stub-nixpkgs/nixos ../../meta/templates/manager/agent.nix ];
      };
      system.configurationRevision = "1a2b3c";
    };
    packaged = { pkgs, ... }: hive { package = pkgs.hello; };
  };

  warned = lib.mapAttrs (_: module: (view (system module)).warnings) {
    nothing = hive { };
    mistypedOperator = hive { operators = [ "adda" ]; };
    included = hive { } // { nix.extraOptions = "  !include /run/secrets/access-tokens\n"; };
    includedByForce = hive { } // { nix.extraOptions = "include\t/etc/nix/more.conf # trust"; };
    commented = hive { } // { nix.extraOptions = "# include /etc/nix/more.conf"; };
  };

  asserted = lib.mapAttrs (_: module: (view (system module)).failed) {
    stateInHome = hive { stateDir = "/home/ada/hive"; };
    stateOnTmpfs = hive { stateDir = "/run/hive-state"; };
    stateAtHome = hive { stateDir = "/home"; };
    stateInEtc = hive { stateDir = "/etc/hive"; };
    stateInStore = hive { stateDir = "/nix/store/hive"; };
    stateOfContainers = hive { stateDir = "/var/lib/nixos-containers/x"; };
    stateOfAll = hive { stateDir = "/var/lib"; };
    rootsGroup = hive { group = "root"; };
    oddState = hive { stateDir = "/var/lib/my hive"; };
    runtimeElsewhere = hive { runtimeDir = "/var/run-hive"; };
    oldState = hive { } // { system.stateVersion = "21.11"; };
    inContainer = hive { } // { boot.isContainer = true; };
    mixed = hive { builder = "plain"; };
    withoutNix = hive { } // { nix.enable = false; };
    notAllowed = hive { } // { nix.settings.allowed-users = [ "root" "@wheel" ]; };
    trustedOthers = hive { } // { nix.settings.trusted-users = [ "root" "@wheel" "hiveling" ]; };
    knownOperator = hive { operators = [ "ada" ]; } // {
      users.mutableUsers = false;
      users.users.ada.isNormalUser = true;
    };
    allowed = hive { } // { nix.settings.allowed-users = [ "hive" ]; };
    trusted = hive { } // { nix.settings.trusted-users = [ "root" "hive" ]; };
    trustedGroup = hive { } // { nix.settings.trusted-users = [ "@hive" ]; };
    trustedAll = hive { } // { nix.settings.trusted-users = [ "*" ]; };
    trustedWords = hive { } // { nix.settings.trusted-users = "root  hive"; };
    trustedExtra = hive { } // { nix.settings.extra-trusted-users = [ "hive" ]; };
    trustedByMembership = hive { } // {
      nix.settings.trusted-users = [ "@builders" ];
      users.groups.builders.members = [ "hive" ];
    };
    trustedBySupplement = hive { } // {
      nix.settings.trusted-users = [ "@wheel" ];
      users.users.hive.extraGroups = [ "wheel" ];
    };
    trustedLine = hive { } // { nix.extraOptions = "trusted-users = *"; };
    trustedLines = hive { } // {
      nix.extraOptions = "keep-outputs = true\n\t extra-trusted-users\t=  root\t@hive # of us\n";
    };
    trustedTight = hive { } // { nix.extraOptions = "trusted-users=root hive"; };
    trustedComment = hive { } // {
      nix.extraOptions = "# trusted-users = hive\nfallback = true # trusted-users = *\ntrusted-users = root # hive\n";
    };
    notAllowedLine = hive { } // { nix.extraOptions = "allowed-users = root\n"; };
    allowedLines = hive { } // {
      nix.settings.allowed-users = [ "root" ];
      nix.extraOptions = "extra-allowed-users = hive";
    };
    strangeOperator = hive { operators = [ "adda" ]; } // { users.mutableUsers = false; };
    managerTaken = hive { } // { containers.manager = { }; };
    credentialOfNobody = hive { credentials.Alice.x = "/run/secrets/x"; };
    credentialOfSystemd = hive { credentials.alice."tmpfiles.extra" = "/run/secrets/x"; };
    credentialLiteral = hive { credentials.alice.x = ./host.nix; };
    credentialCopied = hive { credentials.alice.x = "${./host.nix}"; };
    credentialStored = hive { credentials.alice.x = "${builtins.storeDir}/0123-token"; };
    credentialMade = { pkgs, ... }: hive { credentials.alice.x = pkgs.writeText "token" "hunter2"; };
    credentialInEtc = hive { credentials.alice.x = "/etc/tok"; } // { environment.etc.tok.text = "hunter2"; };
    credentialInEtcFolder = hive { credentials.alice.x = "/etc/keys/tok"; } // {
      environment.etc.folder = { target = "keys"; source = ./stub-nixpkgs; };
    };
    credentialInStatic = hive { credentials.alice.x = "/etc/static/tok"; };
    credentialLinked = hive { credentials.alice.x = "/etc/tok"; } // {
      environment.etc.tok.source = "/run/secrets/tok";
    };
    credentialAtHome = hive { credentials.alice.x = "/home/ada/token"; };
    credentialOdd = hive { credentials.alice.x = "/run/secrets/x:y"; };
    credentialLocal = hive { backend = "local"; builder = "plain"; credentials.alice.x = "/run/secrets/x"; };
    notifyByValue = hive { settings.notify = "ntfy+https://:tk_hunter2@ntfy.sh/hive"; };
    nixpkgsByValue = hive { settings.nixpkgs = "git+https://ada:hunter2@example.org/nixpkgs"; };
    nixpkgsByQuery = hive { settings.nixpkgs = "git+https://example.org/nixpkgs?ref=main&access_token=hunter2"; };
    hyperhiveBySsh = hive { settings.hyperhive = lib.mkForce "git+ssh://ada:hunter2@example.org/hive"; };
    modulesByValue = hive { settings.agent_modules = "git+https://hunter2@example.org/modules"; };
    sshUser = hive { settings.nixpkgs = "git+ssh://git@example.org:22/nixpkgs?ref=main&dir=a@b"; };
    notifyInEtc = hive { settings.notify_file = "/etc/notify"; } // { environment.etc.notify.text = "hunter2"; };
    notifyCopied = hive { settings.notify_file = "${./host.nix}"; };
    notifyCredential = hive { settings.notify_file = "/run/credentials/hive.service/notify"; };
    notifyProgram = hive { settings.notify = "/run/current-system/sw/bin/mail-me --urgent"; };
    networkTwice = hive { network = { file = "/etc/n.toml"; private = [ "a.example:443" ]; }; };
    networkFileAtHome = hive { network.file = "/home/ada/network.toml"; };
    networkFileInState = hive { network.file = "/var/lib/hyperhive/network.toml"; };
    networkFileHere = hive { network.file = ./host.nix; };
    keyMisnamed = hive { network.credentials.My_Key = { kind = "git"; file = "/run/secrets/x"; }; };
    groupMisnamed = hive { network.groups.Python = [ "pypi.org" ]; };
    keyLiteral = hive { network.credentials.anthropic.file = ./host.nix; };
    keyMade = { pkgs, ... }: hive { network.credentials.anthropic.file = pkgs.writeText "key" "sk-1"; };
    keyInEtc = hive { network.credentials.anthropic.file = "/etc/key"; } // { environment.etc.key.text = "sk-1"; };
    keyAtHome = hive { network.credentials.anthropic.file = "/home/ada/key"; };
    keyOdd = hive { network.credentials.anthropic.file = "/run/secrets/x:y"; };
    keyKindless = hive { network.credentials.work.file = "/run/secrets/x"; };
    keyNowhere = hive { network.credentials.http.file = "/run/secrets/x"; };
    ceilingUnknown = hive { network.ceiling = [ "@rust" ]; };
    dashboardLow = hive { dashboard = { enable = true; port = 443; }; };
    dashboardOpen = hive { dashboard = { enable = true; address = "0.0.0.0"; origin = "http://localhost:8420"; }; };
    dashboardNameless = hive { dashboard = { enable = true; address = "::"; behindProxy = true; }; };
    dashboardHttps = hive { dashboard = { enable = true; origin = "https://bee.example"; }; };
    dashboardHalf = hive {
      dashboard = { enable = true; origin = "https://bee.example"; tls.key = "/var/lib/certs/bee.key"; };
    };
    dashboardKeyStored = { pkgs, ... }: hive {
      dashboard = {
        enable = true;
        origin = "https://bee.example";
        tls.certificate = "/var/lib/certs/bee.crt";
        tls.key = pkgs.writeText "key" "k";
      };
    };
    longAgent = hive { agents.twelve-chars = { }; };
    reservedAgent = hive { agents.operator = { }; };
    agentTaken = hive { agents.alice = { }; } // { containers.alice = { }; };
    plainModule = hive { backend = "local"; builder = "plain"; agents.alice.module = ./agent.nix; };
    plainModules = hive { backend = "local"; builder = "plain"; agentModules = [ ./agent.nix ]; };
    noModule = hive { agents.alice.module = ./missing.nix; };
    minimalProfile = hive { } // { boot.enableContainers = lib.mkDefault false; };
    containersOff = hive { } // { boot.enableContainers = false; };
  }
  // {
    oldNixpkgs = (view (systemOf { lib = lib // { trivial.release = "25.05"; }; } (hive { }))).failed;
  };

  # a module of an agent that a test gives
  given =
    if module == null then
      [ ]
    else
      (view (system (hive {
        agents.alice.module = /. + module;
        agentModules = [ (/. + module) ];
      }))).failed;

  # whether each assertion holds where everything is right: one per assertion
  assertions = map (one: one.assertion) (system (hive { dashboard.enable = true; })).assertions;

  refused = lib.mapAttrs (_: module: !(tried (view (system module))).success) {
    unknownSetting = hive { settings.bilds = 1; };
    wrongType = hive { settings.builds = "4"; };
    tooLow = hive { settings.builds = 0; };
    notPositive = hive { settings.resync = 0; };
    uidTooHigh = hive { settings.uid_start = 2147483648; };
    wrongWord = hive { settings.isolation = "none"; };
    agentSetting = hive { agents.alice.settings.lable = "x"; };
    agentRecipient = hive { agents.alice.settings.recipients = [ "system" ]; };
    inlineModule = hive { agents.alice.module = { }; };
    unknownOption = hive { port = 1; };
    unknownBackend = hive { backend = "docker"; };
    credentialValue = hive { credentials.alice.x = "hunter2"; };
    relativeState = hive { stateDir = "hive"; };
    noWatchdog = hive { watchdog = 0; };
  };
}

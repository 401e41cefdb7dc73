# What real_tree.py asks of hive's flake with a nixpkgs.
{ hive, nixpkgs }:
let
  inherit (nixpkgs) lib;
  machine = {
    nixpkgs.hostPlatform = "x86_64-linux";
    system.stateVersion = lib.trivial.release;
  };
  nixos = modules: (lib.nixosSystem { modules = [ machine ] ++ modules; }).config;
  # as small a machine as NixOS accepts
  host =
    module:
    nixos [
      hive.nixosModules.default
      { services.hive.enable = true; }
      (
        { options, ... }:
        {
          config = lib.optionalAttrs (options.boot ? loader) {
            fileSystems."/" = {
              device = "none";
              fsType = "tmpfs";
            };
            boot.loader.grub.enable = false;
          };
        }
      )
      module
    ];
  failed = config: map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
  good = host { };
  inside = modules: nixos (modules ++ [
    {
      networking.hostName = "alice";
      boot.isContainer = true;
    }
  ]);
  # the stand-in of the tests builds no packages of NixOS' own, and counts them beside
  count = config: builtins.length (lib.unique (config.environment.counted or config.environment.systemPackages));
  own = hive.packages.x86_64-linux;
in
{
  inherit (lib.trivial) release;
  host = {
    failed = failed good;
    system = builtins.unsafeDiscardStringContext good.system.build.toplevel.drvPath;
    units = builtins.length (
      builtins.filter (lib.hasPrefix "hive") (builtins.attrNames (good.systemd.services // good.systemd.sockets))
    );
  };
  refused = builtins.mapAttrs (_: module: failed (host module)) {
    stateInHome = { services.hive.stateDir = "/home/ada/hive"; };
    runtimeElsewhere = { services.hive.runtimeDir = "/var/run-hive"; };
    mixed = { services.hive.builder = "plain"; };
    notAllowed = { nix.settings.allowed-users = [ "root" ]; };
    trusted = { nix.settings.trusted-users = [ "hive" ]; };
    trustedLine = { nix.extraOptions = "trusted-users = *"; };
    secretInEtc = {
      environment.etc.token.text = "hunter2";
      services.hive.credentials.alice.x = "/etc/token";
    };
    containersOff = { boot.enableContainers = lib.mkForce false; };
    managerTaken = { containers.manager.config = { }; };
  };
  packages = map (one: builtins.unsafeDiscardStringContext one.drvPath) [
    own.hive
    own.hive-harness
  ];
  templates = builtins.mapAttrs (_: count) {
    plain = inside [ ];
    agent-base = inside [ "${hive}/nix/templates/agent-base.nix" ];
    manager = inside [ "${hive}/nix/templates/manager.nix" ];
  };
}

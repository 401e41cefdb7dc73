# What a host or an agent becomes outside of its module, by place: { host, agent } -> { option or "": { place: text } }.
# `rows` is a file with a function of pkgs: { host, agent } -> option -> list of two modules, without it and with it.
{ rows }:
let
  lib = import ./stub-nixpkgs/lib;
  pkgsFor = system: import ./stub-nixpkgs/pkgs.nix { inherit lib system; };
  given = import rows (pkgsFor "x86_64-linux");
  system =
    modules:
    (import ./stub-nixpkgs/nixos { inherit lib pkgsFor; } {
      system = "x86_64-linux";
      inherit modules;
    }).config;

  text = value: builtins.unsafeDiscardStringContext (if builtins.isString value then value else builtins.toJSON value);
  named = kind: lib.mapAttrs' (name: value: lib.nameValuePair "${kind} ${name}" (text value));
  places =
    config:
    named "unit" config.systemd.stub.units
    // named "etc" (
      lib.mapAttrs (_: file: if file.text != null then file.text else builtins.readFile file.source) config.environment.etc
    )
    // named "user" config.users.users
    // named "group" config.users.groups
    // {
      tmpfiles = text config.systemd.tmpfiles.rules;
      variables = text config.environment.variables;
      packages = text (map toString config.environment.systemPackages);
      helper = text (config.systemd.services.hive-privileged.serviceConfig.ExecStart.content or "");
      egress = text (config.systemd.services.hive-egress.serviceConfig.ExecStart.content or "");
      firewall = text config.networking.firewall.allowedTCPPorts;
      warnings = text config.warnings;
      refused = text (map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions));
    };
  host = module: places (system [
    ../../nix/modules/hive.nix
    (
      { pkgs, ... }:
      {
        services.hive.enable = lib.mkDefault true;
        # the defaults hash all of hive's files each time
        services.hive.package = lib.mkOverride 1100 pkgs.jq;
        services.hive.settings.hyperhive = lib.mkOverride 900 "path:/hive";
      }
    )
    module
  ]);
  agent = module: places (system [
    ../../nix/templates/agent-base.nix
    (
      { pkgs, ... }:
      {
        networking.hostName = "alice";
        hive.agent.package = lib.mkOverride 1100 pkgs.jq;
      }
    )
    module
  ]);
in
{
  host = lib.mapAttrs (_: map host) given.host;
  agent = lib.mapAttrs (_: map agent) given.agent;
}

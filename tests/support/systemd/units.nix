# What services.hive makes of a host: { units, tmpfiles, settings, network, helper, egress }, for a host that is not NixOS.
# `programs` has bin/hive and the like; `given` and `reach` are services.hive.settings and .network as JSON.
{
  programs,
  stateDir,
  given,
  reach,
}:
let
  lib = import ../../nix/stub-nixpkgs/lib;
  pkgsFor = system: import ../../nix/stub-nixpkgs/pkgs.nix { inherit lib system; };
  config =
    (import ../../nix/stub-nixpkgs/nixos { inherit lib pkgsFor; } {
      system = builtins.currentSystem;
      modules = [
        ../../../nix/modules/hive.nix
        {
          services.hive = {
            enable = true;
            package = {
              type = "derivation";
              name = "hive";
              outPath = programs;
            };
            inherit stateDir;
            settings = builtins.fromJSON given;
            network = builtins.fromJSON reach;
          };
        }
      ];
    }).config;
  failed = builtins.filter (one: !one.assertion) config.assertions;
in
assert failed == [ ];
{
  units = lib.filterAttrs (name: _: lib.hasPrefix "hive" name) config.systemd.stub.units;
  tmpfiles = config.systemd.tmpfiles.rules;
  settings = config.environment.etc."hive/daemon.env".text;
  network = config.environment.etc."hive/network.toml".text;
  helper = config.systemd.services.hive-privileged.serviceConfig.ExecStart.content;
  egress = config.systemd.services.hive-egress.serviceConfig.ExecStart.content;
}

# What the tests ask of hive's flake, from a flake that uses it.
{ hive, nixpkgs }:
let
  inherit (nixpkgs) lib;
  system = "x86_64-linux";
  names = builtins.mapAttrs (_: builtins.attrNames);
  failed = config: map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
  nixos = modules: (lib.nixosSystem { inherit system modules; }).config;

  host = nixos [
    hive.nixosModules.default
    { services.hive.enable = true; }
  ];
  own = hive.packages.${system};
  asked = own.hive.module.asked;

  vm =
    module:
    let
      call =
        file:
        if builtins.isPath file || builtins.isString file then
          (import file) {
            inherit lib;
            hive = hive;
          }
        else
          file;
      test = builtins.foldl' (all: file: all // call file) { } module.imports;
      node = nixos [ test.nodes.host ];
    in
    {
      inherit (test) name;
      script = test.testScript;
      units = builtins.attrNames node.systemd.stub.units;
      failed = failed node;
      # paths in the machine's store that bring what they were built from, and that in its turn
      bootstrap = builtins.filter (
        path: builtins.any (one: one ? allOutputs) (builtins.attrValues (builtins.getContext "${path}"))
      ) node.virtualisation.additionalPaths;
      offline = builtins.length node.virtualisation.additionalPaths;
      systemPackages = map (one: one.pname or one.name) node.environment.systemPackages;
    };
in
{
  packages = names hive.packages;
  apps = names hive.apps;
  checks = names hive.checks;
  devShells = names hive.devShells;
  modules = builtins.attrNames hive.nixosModules;
  formatter = builtins.mapAttrs (_: one: one.pname) hive.formatter;
  harnessMeta = own.hive-harness.meta;
  overlay = builtins.attrNames (hive.overlays.default nixpkgs.legacyPackages.${system} { });
  host = {
    failed = failed host;
    units = builtins.attrNames host.systemd.stub.units;
    hyperhive = host.services.hive.settings.hyperhive;
    toplevel = host.system.build.toplevel.name;
  };
  agent =
    (nixos [
      hive.nixosModules.agent
      {
        boot.isContainer = true;
        networking.hostName = "alice";
      }
    ]).system.build.toplevel.name;
  package = {
    programs = builtins.filter (word: builtins.match "hive.*" word != null) (
      builtins.filter builtins.isString (
        builtins.split "[ ;]" (builtins.head (builtins.match ".*for program in ([^;]*);.*" own.hive.script))
      )
    );
    inherit (own.hive) meta;
    tests = builtins.attrNames own.hive.tests;
    source = builtins.attrNames (builtins.readDir asked.src);
  };
  dependencies = builtins.listToAttrs (
    map (one: {
      name = one.pname;
      value = one.version;
    }) asked.dependencies
  );
  harness = map (one: one.pname) own.hive-harness.asked.dependencies;
  vms = builtins.mapAttrs (_: vm) (import "${hive}/nix/tests" { inherit hive; });
}

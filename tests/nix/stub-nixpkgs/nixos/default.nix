# nixosSystem: hive's modules with a few of NixOS' options declared, and a system that is one small derivation.
{ lib, pkgsFor }:
{
  modules,
  system ? null,
  specialArgs ? { },
  ...
}:
let
  evaluated = lib.evalModules {
    inherit specialArgs;
    modules = [
      ./options.nix
      ./units.nix
      ./shape.nix
      ./full.nix
      ./system.nix
      (
        { config, ... }:
        {
          _module.args.pkgs = lib.mkDefault (pkgsFor config.nixpkgs.hostPlatform);
        }
      )
    ]
    ++ lib.optional (system != null) { nixpkgs.hostPlatform = lib.mkDefault system; }
    ++ modules;
  };
in
evaluated
// {
  inherit (evaluated.config._module.args) pkgs;
  extendModules =
    more:
    import ./. { inherit lib pkgsFor; } {
      inherit system specialArgs;
      modules = modules ++ more.modules;
    };
}

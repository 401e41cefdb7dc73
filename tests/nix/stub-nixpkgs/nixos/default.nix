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
          _module.args.pkgs = lib.mkDefault (
            let
              first = pkgsFor config.nixpkgs.hostPlatform // {
                inherit (config.nixpkgs) config;
              };
              last = lib.foldl' (before: overlay: before // overlay last before) first config.nixpkgs.overlays;
            in
            last
          );
          environment.etc = lib.mkIf (config.security.pki.certificateFiles != [ ]) {
            "ssl/certs/ca-certificates.crt".text = lib.concatMapStrings builtins.readFile config.security.pki.certificateFiles;
          };
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

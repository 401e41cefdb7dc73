# The documentation of both modules' options, as data.
let
  lib = import ./stub-nixpkgs/lib;
  pkgs = import ./stub-nixpkgs/pkgs.nix {
    inherit lib;
    system = "x86_64-linux";
  };
  options =
    module:
    (lib.evalModules {
      specialArgs = { inherit pkgs; };
      modules = [ module ];
      check = false;
    }).options;
in
{
  host = lib.optionsDoc [ ] (options ../../nix/modules/hive.nix);
  agent = lib.optionsDoc [ ] (options ../../nix/modules/agent.nix);
}

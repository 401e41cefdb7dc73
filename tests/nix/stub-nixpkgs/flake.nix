# A stand-in for nixpkgs in tests: the same few attributes, nothing to download, systems that build in milliseconds.
{
  description = "stub of nixpkgs for hive's tests";

  outputs =
    { self }:
    let
      lib = import ./lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      pkgsFor = system: import ./pkgs.nix { inherit lib system; };
    in
    {
      lib = lib // {
        nixosSystem =
          args:
          import ./nixos {
            inherit lib pkgsFor;
          } args;
      };
      legacyPackages = lib.genAttrs systems pkgsFor;
    };
}

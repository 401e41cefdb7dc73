# What hive's package consists of, from the Python packages of one release of nixpkgs.
{
  release,
  of ? "hive.nix",
}:
let
  lib = import ./stub-nixpkgs/lib;
  pkgs = import ./stub-nixpkgs/pkgs.nix {
    inherit lib release;
    system = "x86_64-linux";
  };
  package = pkgs.callPackage (../../nix/packages + "/${of}") { };
  # through the dependencies of dependencies, as many levels as there are
  closure =
    package:
    [ package ] ++ builtins.concatMap closure (package.asked.dependencies or [ ]);
in
map (one: {
  inherit (one) pname version;
}) (builtins.concatMap closure (package.module or package).asked.dependencies)

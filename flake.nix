{
  description = "hive keeps a swarm of coding agents, each in its own container, equal to what is written in git";

  # No lock is committed: follow the nixpkgs of your host, `inputs.hive.inputs.nixpkgs.follows = "nixpkgs"`.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEach = function: lib.genAttrs systems (system: function nixpkgs.legacyPackages.${system});
      vmTestsOf =
        pkgs:
        lib.mapAttrs (_: module: pkgs.testers.runNixOSTest module) (import ./nix/tests { hive = self; });
      packagesOf = pkgs: {
        hive = pkgs.callPackage ./nix/packages/hive.nix { vmTests = vmTestsOf pkgs; };
        hive-harness = pkgs.callPackage ./nix/packages/hive-harness.nix { };
      };
    in
    {
      packages = forEach (
        pkgs:
        let
          own = packagesOf pkgs;
        in
        own // { default = own.hive; }
      );

      overlays.default = final: _: packagesOf final;

      nixosModules = {
        default = ./nix/modules/hive.nix;
        agent = ./nix/modules/agent.nix;
      };

      devShells = forEach (
        pkgs:
        let
          hive = (packagesOf pkgs).hive;
        in
        {
          default = pkgs.mkShell {
            packages = [
              pkgs.python3
              pkgs.git
              pkgs.bubblewrap
              pkgs.gnumake
              pkgs.nix
            ];
            inputsFrom = [ hive.module ];
          };
        }
      );

      apps = forEach (
        pkgs:
        let
          hive = (packagesOf pkgs).hive;
          demo = pkgs.writeShellApplication {
            name = "hive-demo";
            runtimeInputs = [
              hive
              pkgs.git
              pkgs.bubblewrap
              pkgs.util-linux
            ];
            text = ''
              cd ${self}
              exec ${hive.environment}/bin/python -m tests.e2e.story
            '';
          };
        in
        {
          default = {
            type = "app";
            program = "${hive}/bin/hive";
          };
          demo = {
            type = "app";
            program = "${demo}/bin/hive-demo";
          };
        }
      );

      checks = forEach (
        pkgs:
        packagesOf pkgs
        // lib.mapAttrs' (name: test: lib.nameValuePair "vm-${name}" test) (vmTestsOf pkgs)
      );

      # `nix fmt`
      formatter = forEach (pkgs: pkgs.nixfmt-tree);
    };
}

# What a host and an agent are of each commit of hive, from flakes that are inputs of another: name -> texts and paths.
{ nixpkgs, commits }:
let
  system = "x86_64-linux";
  nixos =
    modules:
    (nixpkgs.lib.nixosSystem {
      inherit system modules;
    }).config;
  view =
    hive:
    let
      host = nixos [
        hive.nixosModules.default
        { services.hive.enable = true; }
      ];
      input = nixpkgs.lib.removePrefix "path:" host.services.hive.settings.hyperhive;
      agent = nixos [
        (input + "/nix/templates/manager.nix")
        { networking.hostName = "manager"; }
      ];
    in
    {
      # without the context nix would give the paths of what must be built first
      units = builtins.unsafeDiscardStringContext (builtins.toJSON host.systemd.stub.units);
      settings = builtins.unsafeDiscardStringContext host.environment.etc."hive/daemon.env".text;
      input = builtins.unsafeDiscardStringContext input;
      agent = builtins.unsafeDiscardStringContext agent.system.build.toplevel.drvPath;
      kept = builtins.attrNames (builtins.getContext host.environment.etc."hive/daemon.env".text);
    };
in
builtins.mapAttrs (_: view) commits

# The summary of each of `modules` (a JSON list of texts) on top of a base, and of the base itself.
{
  modules,
  folder,
  nixpkgs,
}:
let
  stub = (import "${nixpkgs}/flake.nix").outputs { self = stub; };
  summarise = import "${folder}/summarise.nix";
  base =
    { pkgs, lib, ... }:
    {
      system.configurationRevision = lib.mkDefault "base";
      system.disableInstallerTools = lib.mkDefault true;
      environment.systemPackages = [ pkgs.git ];
      environment.etc.old.text = "old";
      security.wrappers.old.source = "/x";
      users.users.root.uid = 0;
      users.users.old = {
        uid = 800;
        initialPassword = lib.mkDefault "old";
      };
      systemd.services.old.script = "true";
      system.activationScripts.old.text = "true";
    };
  of = extra: summarise (stub.lib.nixosSystem { modules = [ base ] ++ extra; }).config;
in
map (number: of (if number == 0 then [ ] else [ (import "${folder}/m${toString number}.nix") ])) (
  builtins.genList (number: number) (builtins.fromJSON modules + 1)
)

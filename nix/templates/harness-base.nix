# What every agent's container has in common. Agents add to it in their own agent.nix.
{ lib, pkgs, ... }:
{
  imports = [
    ../modules/agent.nix
    ./slim.nix
  ];

  boot.isContainer = lib.mkDefault true;
  networking.useDHCP = lib.mkDefault false;
  # stronger than NixOS' own default for containers, weaker than a line in agent.nix
  networking.useHostResolvConf = lib.mkOverride 900 false;
  # no way out by default: there is no route, and nothing listens
  networking.firewall.enable = lib.mkDefault true;
  time.timeZone = lib.mkDefault "UTC";
  # the system is replaced whole at each deploy, so nothing migrates from an older one
  system.stateVersion = lib.mkDefault "25.11";

  environment.systemPackages = [
    pkgs.git
    pkgs.curl
    pkgs.jq
  ];
}

# The container of @name@ beyond hive's template: packages, services, units. A NixOS module.
# What the harness needs to know is in agent.toml, which serves every backend.
{ pkgs, ... }:
{
  hive.agent.file = ./agent.toml;

  environment.systemPackages = [ ];
}

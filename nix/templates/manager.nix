# The container of the manager: it sees every agent's proposed work tree, and read-only what is applied and deployed.
# The parent directories are bound, so a new agent appears without a restart:
#   /agents   proposed/, read-write        /applied   applied/, read-only        /meta   meta/, read-only
# hive's root helper binds them because of the role in agents.json; nothing in here could.
{ pkgs, ... }:
{
  imports = [ ./harness-base.nix ];

  hive.agent = {
    role = "manager";
    packages = [ pkgs.ripgrep ];
  };

  # they belong to the daemon's user on the host, which is nobody in here
  programs.git = {
    enable = true;
    config.safe.directory = [
      "/agents/*"
      "/applied/*"
      "/meta"
      "/meta/.git"
    ];
  };
}

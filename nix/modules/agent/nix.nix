# nix inside of a container: none, or a daemon of the container's own. The host's daemon, whose socket NixOS binds into
# every container, is hidden by hive: it would fetch for an agent from the host's network.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.hive.agent.nix;
in
{
  options.hive.agent.nix.enable = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = ''
      Whether the agent has nix, through a daemon of the container's own with the container's network and limits. What it
      builds lies in the container, over the host's store, until the container ends. The host's nix daemon is never
      reachable.
    '';
  };

  config = lib.mkMerge [
    { nix.enable = lib.mkDefault cfg.enable; }
    (lib.mkIf cfg.enable {
      # the container is the wall; a second one would need a /proc that a container may not mount
      nix.settings.sandbox = lib.mkDefault false;

      systemd.services.hive-own-nix = {
        description = "a store and a database of the container's own";
        unitConfig.DefaultDependencies = false;
        after = [ "local-fs.target" ];
        before = [
          "nix-daemon.socket"
          "nix-daemon.service"
        ];
        requiredBy = [ "nix-daemon.socket" ];
        path = [
          pkgs.coreutils
          pkgs.util-linux
          (if config.nix.package == null then pkgs.nix else config.nix.package)
        ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${pkgs.runtimeShell} ${./own-nix.sh} /var/lib/hive-nix ${
            pkgs.closureInfo { rootPaths = [ config.system.path ]; }
          }";
        };
      };
    })
  ];
}

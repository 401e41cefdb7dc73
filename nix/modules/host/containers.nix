# The unit of NixOS' containers, changed for hive: hive starts containers, in waves after recovery, and systemd does not.
# The helper's drop-in for each of hive's own containers also sets `Restart=no`; other containers keep theirs.
{ config, lib, ... }:
let
  cfg = config.services.hive;
in
{
  config = lib.mkIf (cfg.enable && cfg.backend == "nixos") {
    # before the defaults of NixOS and of its minimal profile, which may be false; what an operator writes comes first
    boot.enableContainers = lib.mkOverride 990 true;

    systemd.services."container@" = {
      wantedBy = lib.mkForce [ ];
      # a switch of the host never ends an agent's turn: hive drains and restarts
      restartIfChanged = lib.mkForce false;
      # nspawn 257 makes this node in a container with a network of its own, and fails if the unit's DevicePolicy=closed
      # keeps it from that; systemd's own unit for containers allows it, too
      serviceConfig.DeviceAllow = [ "/dev/net/tun rwm" ];
    };
  };
}

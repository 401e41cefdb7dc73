# The summaries of configs with a part that throws, most of them beside a part that does not.
{ folder }:
let
  summarise = import "${folder}/summarise.nix";
  x = throw "x";
in
builtins.mapAttrs (_: summarise) {
  port.networking.firewall.allowedTCPPorts = [
    80
    x
  ];
  ports.networking.firewall.allowedUDPPorts = x;
  range.networking.firewall.allowedTCPPortRanges = [
    {
      from = 1;
      to = x;
    }
  ];
  firewall.networking.firewall = {
    enable = x;
    allowedTCPPorts = [ 80 ];
  };
  interface.networking.firewall.interfaces.eth1.allowedTCPPorts = [
    x
    80
  ];
  key.users.users.root.openssh.authorizedKeys.keys = [
    x
    "EVIL"
  ];
  user.users.users = {
    root.uid = x;
    evil.uid = 1;
  };
  password.users.users.root.hashedPassword = x;
  group.users.groups = {
    wheel.members = [ x ];
    evil.members = [ "u" ];
  };
  bind.fileSystems = {
    "/a" = {
      device = x;
      options = [ "bind" ];
    };
    "/b" = {
      device = "/";
      options = [ "rbind" ];
    };
  };
  file.environment.etc.s = {
    target = "sudoers";
    source = "/evil";
    text = x;
  };
  target.environment.etc.s = {
    enable = x;
    target = x;
  };
  wrapper.security.wrappers = {
    a.setuid = x;
    b.setuid = true;
  };
  capability.systemd.services = {
    a.serviceConfig = x;
    b.serviceConfig.AmbientCapabilities = "CAP";
  };
  unit.systemd.units.a.text = x;
  units.systemd.units = x;
  rule.systemd.tmpfiles.rules = [
    x
    "f /evil"
  ];
  setting.nix.settings = {
    a = x;
    trusted-users = "*";
  };
  package.environment.systemPackages = [
    x
    {
      name = "evil-1";
      outPath = "/evil";
    }
  ];
  script.system.activationScripts.a = x;
  etc.system.build.etc = x;
}

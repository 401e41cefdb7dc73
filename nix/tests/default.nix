# The tests in virtual machines, by name. Each is a module for `pkgs.testers.runNixOSTest`.
{ hive }:
let
  test = file: { imports = [ file ]; _module.args = { inherit hive; }; };
in
{
  enable = test ./enable.nix;
  deploy = test ./deploy.nix;
  bad-build = test ./bad-build.nix;
  unhealthy = test ./unhealthy.nix;
  crash = test ./crash.nix;
  reboot = test ./reboot.nix;
  isolation = test ./isolation.nix;
}

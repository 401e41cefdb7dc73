# What the scope of agent.toml denies, as mounts of the coding agent's unit, so that what is beside it stays free.
#   BindReadOnlyPaths   what may be read only
#   InaccessiblePaths   what may not be read
#   BindPaths           the folders above both: a mount can be neither moved nor removed
# `-`: only what is there when the coding agent starts. Landlock holds the rest, entry by entry (harness/scope).
{ config, lib, ... }:
let
  cfg = config.hive.agent;
  inherit (cfg.settings) scope;
  apart = cfg.enable && cfg.settings.runtime != "script" && cfg.user != "root";
  # paths that need no quoting in a unit, below a folder of the root
  isPlain = rule: rule.recursive && builtins.match "(/[A-Za-z0-9_.@+=-]+){2,}" rule.target != null;
  denied = if scope == null then [ ] else builtins.filter isPlain scope.deny;
  of = permission: map (rule: "-${rule.target}") (builtins.filter (rule: rule.permission == permission) denied);
  # /a/b for /a/b/c: what is directly below the root is no agent's to move
  above =
    path:
    let
      parent = dirOf path;
    in
    if dirOf parent == "/" then [ ] else above parent ++ [ parent ];
  isDenied = path: builtins.any (rule: path == rule.target || lib.hasPrefix "${rule.target}/" path) denied;
  folders = lib.unique (builtins.concatMap (rule: above rule.target) denied);
in
{
  config = lib.mkIf (apart && denied != [ ]) {
    systemd.services."hive-cli@".serviceConfig = {
      BindReadOnlyPaths = of "write";
      InaccessiblePaths = of "read";
      BindPaths = map (path: "-${path}") (builtins.filter (path: !isDenied path) folders);
    };
  };
}

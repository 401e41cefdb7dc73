# Where the file of a secret may lie: not in the store, which all users and agents read, and where hive's units see it.
{ config, lib }:
let
  # toString copies nothing into the store, unlike "${path}" and toJSON
  copied =
    path:
    builtins.isPath path
    || builtins.hasContext (toString path)
    || lib.hasPrefix "${builtins.storeDir}/" (toString path);
  # what environment.etc makes from a text, or from a file in the store
  made =
    path:
    builtins.any (
      file:
      (path == "/etc/${file.target}" || lib.hasPrefix "/etc/${file.target}/" path)
      && file.enable
      && (file.text != null || copied file.source)
    ) (builtins.attrValues config.environment.etc);
  plain = path: builtins.match "(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+" (toString path) != null;
  below = path: builtins.any (parent: lib.hasPrefix "${parent}/" (toString path));
  # what hive's units do not see, or what users may write to
  unseen = [
    "/home"
    "/root"
    "/tmp"
    "/var/tmp"
    "/run/user"
    "/run/credentials"
  ];
in
{
  stored =
    path:
    copied path
    || lib.hasPrefix "/etc/static/" path
    || (lib.hasPrefix "/etc/" path && made path);
  reachable = path: plain path && !(below path unseen);
}

# What makes the stub's system boot: { path, text } of each file in it, but for `init`.
{ lib, config }:
let
  users = {
    root = {
      uid = 0;
      group = "root";
      home = "/root";
    };
    nobody = {
      uid = 65534;
      group = "nogroup";
      home = "/";
    };
  }
  // lib.mapAttrs (_: user: { inherit (user) uid group home; }) config.users.users;
  groups = {
    root = 0;
    users = 100;
    nogroup = 65534;
  }
  // lib.mapAttrs (_: group: group.gid) config.users.groups;
  number = value: if value == null then "65533" else toString value;
  passwd =
    name: user:
    "${name}:x:${number user.uid}:${number (groups.${user.group} or null)}::${toString user.home}:/bin/sh\n";

  # the two settings of git that hive's templates use: lists and texts, below one level of sections
  gitSection =
    section: keys:
    "[${section}]\n"
    + lib.concatStrings (
      lib.mapAttrsToList (
        key: value: lib.concatMapStrings (one: "\t${key} = ${builtins.toJSON one}\n") (lib.flatten [ value ])
      ) keys
    );
  gitconfig = lib.concatStrings (lib.mapAttrsToList gitSection config.programs.git.config);

  content = file: if file.text != null then file.text else builtins.readFile file.source;
  wanted = builtins.filter (
    name: builtins.elem "multi-user.target" config.systemd.services.${name}.wantedBy
  ) (builtins.attrNames config.systemd.services);
in
lib.mapAttrsToList (_: file: {
  path = "etc/${file.target}";
  text = content file;
}) (lib.filterAttrs (_: file: !file.generated) config.environment.etc)
++ lib.mapAttrsToList (name: text: {
  path = "units/${name}";
  inherit text;
}) config.systemd.stub.units
++ [
  {
    path = "units/closure.target";
    text = ''
      [Unit]
      Requires=sysinit.target
      After=sysinit.target
      Wants=${lib.concatMapStringsSep " " (name: "${name}.service") wanted}
    '';
  }
  {
    path = "etc/passwd";
    text = lib.concatStrings (lib.mapAttrsToList passwd users);
  }
  {
    path = "etc/group";
    text = lib.concatStrings (lib.mapAttrsToList (name: gid: "${name}:x:${number gid}:\n") groups);
  }
  {
    path = "etc/gitconfig";
    text = gitconfig;
  }
  {
    path = "tmpfiles.conf";
    text = lib.concatMapStrings (rule: "${rule}\n") config.systemd.tmpfiles.rules;
  }
]

# Who may use the host's nix daemon: hive has to, and neither hive nor an agent may be trusted by it. Read from nix.settings
# and from the lines of nix.extraOptions, which nix reads after them.
{ config, lib, ... }:
let
  cfg = config.services.hive;

  # nix takes a list, or words in one string
  words =
    value:
    if builtins.isList value then
      lib.concatMap words value
    else
      builtins.filter (word: builtins.isString word && word != "") (builtins.split "[ \t\r\n]+" value);

  lines = map (line: builtins.head (lib.splitString "#" line)) (
    lib.splitString "\n" config.nix.extraOptions
  );
  matches = shape: builtins.filter (match: match != null) (map (builtins.match shape) lines);
  # the words of each line that sets the key
  inLines = key: map (match: words (builtins.head match)) (matches "[ \t\r]*${key}[ \t\r]*=(.*)");
  inSettings = key: words (config.nix.settings.${key} or [ ]);
  included = lib.concatMap (match: words (builtins.head match)) (
    matches "[ \t\r]*!?include[ \t\r]+(.*)"
  );

  trusted = lib.concatMap (key: inSettings key ++ lib.flatten (inLines key)) [
    "trusted-users"
    "extra-trusted-users"
  ];
  # the last of several lines counts; those of "extra-" add to it
  allowed =
    (
      if inLines "allowed-users" != [ ] then
        lib.last (inLines "allowed-users")
      else
        words (config.nix.settings.allowed-users or [ "*" ])
    )
    ++ inSettings "extra-allowed-users"
    ++ lib.flatten (inLines "extra-allowed-users");

  hasHive =
    group:
    group == cfg.group
    || builtins.elem "hive" (config.users.groups.${group}.members or [ ])
    || builtins.elem group config.users.users.hive.extraGroups;
  isHive =
    name:
    name == "*" || name == "hive" || (lib.hasPrefix "@" name && hasHive (lib.removePrefix "@" name));
  trustedHive = lib.unique (builtins.filter isHive trusted);
in
{
  config = lib.mkIf cfg.enable {
    warnings = lib.optional (cfg.builder == "nix" && included != [ ]) ''
      nix.extraOptions includes ${lib.concatStringsSep " and " included}, which services.hive cannot read at evaluation; make sure that no trusted-users there has hive, its groups or "*", and that no allowed-users keeps hive out.
    '';

    assertions = [
      {
        assertion =
          cfg.builder != "nix"
          || builtins.any (one: builtins.elem one allowed) [
            "*"
            "hive"
            "@${cfg.group}"
          ];
        message = "nix.settings.allowed-users, or a line of nix.extraOptions, keeps the user hive from building; add \"hive\" to it.";
      }
      {
        assertion = trustedHive == [ ];
        message = "nix.settings.trusted-users, or a line of nix.extraOptions, makes hive as mighty as root, and hive evaluates what agents write; remove ${
          lib.concatMapStringsSep " and " (name: "\"${name}\"") trustedHive
        } from it and from extra-trusted-users.";
      }
    ];
  };
}

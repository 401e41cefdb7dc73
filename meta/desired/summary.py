"""The Nix function that summarises a system for the people who approve it."""

from __future__ import annotations

_FUNCTION = """\
config:
  let
    inherit (builtins) attrNames attrValues concatLists concatStringsSep deepSeq elem filter getAttr hashString;
    inherit (builtins) isAttrs isList isString listToAttrs map mapAttrs parseDrvName removeAttrs replaceStrings;
    inherit (builtins) stringLength substring toJSON toString tryEval;
    or_ = default: value: let got = tryEval (deepSeq value value); in if got.success then got.value else default;
    text = value: or_ "" (toString value);
    words = value: if isList value then map text value else filter (word: word != "") [ (text value) ];
    plain = builtins.unsafeDiscardStringContext;
    digest = value: or_ "fails" (substring 0 12 (hashString "sha256" (plain (toJSON value))));
    digests = mapAttrs (_: digest);
    short = value: if stringLength value <= 100 then value else "${substring 0 80 value}... ${digest value}";
    only = test: set: listToAttrs (map (name: { inherit name; value = getAttr name set; })
      (filter (name: or_ false (test (getAttr name set))) (attrNames set)));
    pick = names: set: listToAttrs (map (name: { inherit name; value = set.${name}; })
      (filter (name: set ? ${name}) names));
    # the parts of a deep set of settings by their dotted names
    leaves = prefix: value:
      if isAttrs value && !(value ? outPath) then
        concatLists (map (name: leaves (prefix ++ [ name ]) (getAttr name value)) (attrNames value))
      else [ { name = short (concatStringsSep "." prefix); value = digest value; } ];

    systemd = config.systemd or { };
    unit = it: digest (pick [ "enable" "text" "wantedBy" "requiredBy" "upheldBy" "aliases" "overrideStrategy" ] it);
    services = only (it: it.enable or true) (systemd.services or { });
    users = config.users.users or { };
    user = it: concatStringsSep " " (
      [ "uid ${if or_ null (it.uid or null) == null then "any" else toString it.uid}" ]
      ++ words (or_ [ ] (it.extraGroups or [ ])));
    secrets = only (it: it != { }) (mapAttrs (_: it: only (value: value != null) (pick [
      "hashedPassword" "hashedPasswordFile" "initialHashedPassword" "initialPassword" "password" "passwordFile"
    ] it)) users);
    keys = name: it: map (key: "of ${name}: ${short (text key)}") (it.openssh.authorizedKeys.keys or [ ])
      ++ map (file: "of ${name} in a file: ${digest file}") (it.openssh.authorizedKeys.keyFiles or [ ]);
    group = it: concatStringsSep " " (
      [ "gid ${if or_ null (it.gid or null) == null then "any" else toString it.gid}" ]
      ++ words (or_ [ ] (it.members or [ ])));
    firewall = config.networking.firewall or { };
    # the ports that one set of settings opens; `where` says on which interface
    opened = where: it:
      map (port: "tcp/${toString port}${where}") (it.allowedTCPPorts or [ ])
      ++ map (port: "udp/${toString port}${where}") (it.allowedUDPPorts or [ ])
      ++ map (range: "tcp/${toString range.from}-${toString range.to}${where}") (it.allowedTCPPortRanges or [ ])
      ++ map (range: "udp/${toString range.from}-${toString range.to}${where}") (it.allowedUDPPortRanges or [ ]);
    interfaces = firewall.interfaces or { };
    wrappers = only (it: it.enable or true) (config.security.wrappers or { });
    mounts = config.fileSystems or { };
    bound = it: elem "bind" (it.options or [ ]);
    mount = name: it: {
      name = "${text (it.device or "")} on ${name}";
      value = digest (pick [ "fsType" "options" ] it);
    };
    files = listToAttrs (map (it: {
      name = "/etc/${text (it.target or "")}";
      value = concatStringsSep " " (
        [ (digest (pick [ "source" "text" ] it)) ]
        ++ (if (it.mode or "symlink") == "symlink" then [ ]
          else [ "mode ${text it.mode} ${text (it.user or "")} ${text (it.group or "")}" ]));
    }) (filter (it: or_ true (it.enable or true)) (attrValues (config.environment.etc or { }))));
    rules = systemd.tmpfiles.rules or [ ];
    package = it: or_ { name = "unnamed"; version = ""; } (
      let whole = parseDrvName (if isString it then baseNameOf it else it.name or "unnamed"); in {
        name = text (it.pname or whole.name);
        version = text (it.version or whole.version);
      });
    packages = config.environment.systemPackages or [ ];
    built = set: if set == null then "" else or_ "" (plain (toString set));

    # what the toplevel is made of, and what is left of it if these are taken away
    toplevel = config.system.build.toplevel or { };
    etc = config.system.build.etc or null;
    path = config.system.path or null;
    boot = config.system.build.bootStage2 or null;
    script = text (config.system.activationScripts.script or "");
    present = filter (it: it != "");
    scripts = present (map plain [ script (text (config.system.dryActivationScript or "")) ]);
    made = present [ (built etc) (built path) (built boot) ];
    parts = made ++ map toJSON scripts ++ scripts;
    without = names: value: replaceStrings names (map (_: "part") names) (plain (toJSON value));
    rest = without parts (toplevel.drvAttrs or { });
    snippets = set: mapAttrs (_: it: digest (without made it)) (removeAttrs set [ "script" ]);
  in
  {
    form = 2;
    packages = map package packages;
    builds = listToAttrs (map (it: { inherit (package it) name; value = digest (built it); }) packages);
    units = mapAttrs (_: unit) (systemd.units or { });
    userUnits = mapAttrs (_: unit) (systemd.user.units or { });
    users = or_ { } (mapAttrs (_: user) users);
    accounts = mapAttrs (_: it: digest (pick [
      "group" "home" "homeMode" "createHome" "shell" "useDefaultShell" "isNormalUser" "packages" "linger" "expires"
      "subUidRanges" "subGidRanges" "autoSubUidGidRange" "name" "enable"
    ] it)) users;
    passwords = digests secrets;
    keys = or_ [ ] (concatLists (map (name: keys name (getAttr name users)) (attrNames users)));
    groups = or_ { } (mapAttrs (_: group) (config.users.groups or { }));
    ports = or_ [ ] (
      opened "" firewall
      ++ concatLists (map (name: opened " on ${name}" (getAttr name interfaces)) (attrNames interfaces))
      ++ map (name: "all on ${name}") (filter (name: name != "lo") (firewall.trustedInterfaces or [ ]))
      ++ (if firewall.enable or true then [ ] else [ "all (the firewall is off)" ]));
    binds = or_ [ ] (map (name: "${text ((getAttr name mounts).device or "")} on ${name}")
      (filter (name: bound (getAttr name mounts)) (attrNames mounts)));
    mounts = or_ { } (listToAttrs (map (name: mount name (getAttr name mounts)) (attrNames mounts)));
    capabilities = or_ [ ] (
      concatLists (map (name: map (it: "${it} of ${name}.service")
        (words ((getAttr name services).serviceConfig.AmbientCapabilities or [ ]))) (attrNames services))
      ++ concatLists (map (name:
        let it = text ((getAttr name wrappers).capabilities or ""); in
        if it == "" then [ ] else [ "${it} of program ${name}" ]) (attrNames wrappers)));
    setuid = attrNames (only (it: it.setuid or false || it.setgid or false) wrappers);
    wrappers = mapAttrs (_: it: digest (pick [
      "source" "program" "owner" "group" "permissions" "capabilities" "setuid" "setgid"
    ] it)) wrappers;
    tmpfiles = listToAttrs (map (rule: { name = short (text rule); value = digest rule; }) (or_ [ ] rules)
      ++ leaves [ ] (systemd.tmpfiles.settings or { }));
    inherit files;
    activation = snippets (config.system.activationScripts or { });
    userActivation = snippets (config.system.userActivationScripts or { });
    nix = listToAttrs (leaves [ ] (config.nix.settings or { }));
    whole = digests {
      script = without made script;
      etc = built etc;
      packages = built path;
      boot = built boot;
      inherit rest;
    } // (if toplevel ? drvPath then { system = digest (built toplevel.drvPath); } else { });
  }"""
"""From the config of a NixOS system to the JSON that meta.nix.summary parses."""

SUMMARISE = f"""\
# what a system is, for people who approve it; an option that is missing or fails counts as empty
summarise = {_FUNCTION};
"""
"""The function as a binding of the meta flake."""

SUMMARISE_SYSTEM = f"({_FUNCTION.rstrip()})"
"""The function by itself. hive applies it to the config of a commit's system, so that systems of older commits are
summarised by the same function. It gets the very system that would be built: another one, say without the commit's
id, could be another for that reason, and hide on the card what the commit does."""

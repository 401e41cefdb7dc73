"""The Nix function that summarises a system for the people who approve it."""

from __future__ import annotations

_FUNCTION = """\
config:
  let
    inherit (builtins) attrNames concatLists concatStringsSep deepSeq elemAt filter genList getAttr hashString;
    inherit (builtins) isAttrs isList isString length listToAttrs map mapAttrs parseDrvName removeAttrs replaceStrings;
    inherit (builtins) seq stringLength substring toJSON toString tryEval;
    # what throws has the value "fails", which is a line of the card whatever it was before
    or_ = default: value: let got = tryEval (deepSeq value value); in if got.success then got.value else default;
    reads = value: (tryEval (seq value true)).success;
    words = value: if isList value then map toString value else filter (word: word != "") [ (toString value) ];
    plain = builtins.unsafeDiscardStringContext;
    hash = value: substring 0 12 (hashString "sha256" (plain (toJSON value)));
    digest = value: or_ "fails" (hash value);
    short = value: if stringLength value <= 100 then value else "${substring 0 80 value}... ${hash value}";
    each = f: set: if reads (attrNames set) then mapAttrs f set else { "all of them" = "fails"; };
    digests = each (_: digest);
    # an attribute whose test throws is kept
    keep = test: set: listToAttrs (map (name: { inherit name; value = getAttr name set; })
      (filter (name: or_ true (test (getAttr name set))) (attrNames set)));
    pick = names: set: listToAttrs (map (name: { inherit name; value = set.${name}; })
      (filter (name: set ? ${name}) names));
    pairs = f: set: if reads (attrNames set)
      then concatLists (map (name: f name (getAttr name set)) (attrNames set))
      else [ { name = "all of them"; value = "fails"; } ];
    # the names that `f` gives to the elements of a list; `where` says which list, if one throws
    names = where: f: list:
      let
        name = number:
          let got = tryEval (let text = f (elemAt list number); in deepSeq text text); in
          if got.success then { name = got.value; value = ""; }
          else { name = "number ${toString (number + 1)} ${where}"; value = "fails"; };
      in
      if reads (length list) then genList name (length list) else [ { name = "any ${where}"; value = "fails"; } ];
    # the parts of a deep set of settings by their dotted names
    leaves = prefix: value:
      if reads value && isAttrs value && !(value ? outPath) then
        concatLists (map (name: leaves (prefix ++ [ name ]) (getAttr name value)) (attrNames value))
      else [ { name = short (concatStringsSep "." prefix); value = digest value; } ];

    systemd = config.systemd or { };
    unit = it: digest (pick [ "enable" "text" "wantedBy" "requiredBy" "upheldBy" "aliases" "overrideStrategy" ] it);
    services = keep (it: it.enable or true) (systemd.services or { });
    users = config.users.users or { };
    number = value: if value == null then "any" else toString value;
    user = it: concatStringsSep " " ([ "uid ${number (it.uid or null)}" ] ++ words (it.extraGroups or [ ]));
    group = it: concatStringsSep " " ([ "gid ${number (it.gid or null)}" ] ++ words (it.members or [ ]));
    secrets = keep (it: it != { }) (mapAttrs (_: it: keep (value: value != null) (pick [
      "hashedPassword" "hashedPasswordFile" "initialHashedPassword" "initialPassword" "password" "passwordFile"
    ] it)) users);
    keys = name: it:
      names "of ${name}" (key: "of ${name}: ${short (toString key)}") (it.openssh.authorizedKeys.keys or [ ])
      ++ names "of ${name} in a file" (file: "of ${name} in a file: ${hash file}")
        (it.openssh.authorizedKeys.keyFiles or [ ]);
    firewall = config.networking.firewall or { };
    # the ports that one set of settings opens; `where` says on which interface
    opened = where: it:
      names "of tcp${where}" (port: "tcp/${toString port}${where}") (it.allowedTCPPorts or [ ])
      ++ names "of udp${where}" (port: "udp/${toString port}${where}") (it.allowedUDPPorts or [ ])
      ++ names "of the ranges of tcp${where}" (range: "tcp/${toString range.from}-${toString range.to}${where}")
        (it.allowedTCPPortRanges or [ ])
      ++ names "of the ranges of udp${where}" (range: "udp/${toString range.from}-${toString range.to}${where}")
        (it.allowedUDPPortRanges or [ ]);
    wrappers = keep (it: it.enable or true) (config.security.wrappers or { });
    special = it: it.setuid or false || it.setgid or false;
    mounts = config.fileSystems or { };
    on = name: it: "${toString (it.device or "")} on ${name}";
    bind = name: it: names "on ${name}" (_: on name it)
      (filter (option: option == "bind" || option == "rbind") (it.options or [ ]));
    mount = name: it: [ {
      name = or_ "something on ${name}" (on name it);
      value = digest (pick [ "device" "fsType" "options" ] it);
    } ];
    file = name: it: [ {
      name = "/etc/${or_ name (toString (it.target or ""))}";
      value = or_ "fails" (concatStringsSep " " (
        [ (hash (pick [ "target" "source" "text" ] it)) ]
        ++ (if (it.mode or "symlink") == "symlink" then [ ]
          else [ "mode ${toString it.mode} ${toString (it.user or "")} ${toString (it.group or "")}" ])));
    } ];
    package = it: or_ { name = "without a name"; version = "fails"; } (
      let whole = parseDrvName (if isString it then baseNameOf it else it.name or "unnamed"); in {
        name = toString (it.pname or whole.name);
        version = toString (it.version or whole.version);
      });
    packages = config.environment.systemPackages or [ ];
    built = set: if set == null then "" else plain (toString set);

    # what the toplevel is made of, and what is left of it if these are taken away
    toplevel = config.system.build.toplevel or { };
    etc = built (config.system.build.etc or null);
    path = built (config.system.path or null);
    boot = built (config.system.build.bootStage2 or null);
    scripts = map plain [
      (toString (config.system.activationScripts.script or ""))
      (toString (config.system.dryActivationScript or ""))
    ];
    present = filter (it: or_ "" it != "");
    made = present [ etc path boot ];
    parts = made ++ concatLists (map (it: [ (toJSON it) it ]) (present scripts));
    without = texts: value:
      replaceStrings texts (genList (at: "part ${toString at}") (length texts)) (plain (toJSON value));
    rest = without parts (toplevel.drvAttrs or { });
    snippets = set: each (_: it: digest (without made it)) (removeAttrs set [ "script" ]);
    # the attributes that are summarised are those of the derivation that would be built
    genuine = toplevel ? drvPath && toplevel ? drvAttrs
      && (derivationStrict toplevel.drvAttrs).drvPath == toplevel.drvPath;
  in
  {
    form = 3;
    packages = map package packages;
    builds = listToAttrs (map (it: { inherit (package it) name; value = digest (built it); }) packages);
    units = each (_: unit) (systemd.units or { });
    userUnits = each (_: unit) (systemd.user.units or { });
    users = each (_: it: or_ "fails" (user it)) users;
    accounts = each (_: it: digest (pick [
      "group" "home" "homeMode" "createHome" "shell" "useDefaultShell" "isNormalUser" "packages" "linger" "expires"
      "subUidRanges" "subGidRanges" "autoSubUidGidRange" "name" "enable"
    ] it)) users;
    passwords = digests secrets;
    keys = listToAttrs (pairs keys users);
    groups = each (_: it: or_ "fails" (group it)) (config.users.groups or { });
    ports = listToAttrs (
      opened "" firewall
      ++ pairs (name: opened " on ${name}") (firewall.interfaces or { })
      ++ filter (it: it.name != "all on lo")
        (names "of the trusted interfaces" (name: "all on ${name}") (firewall.trustedInterfaces or [ ]))
      ++ names "of the firewall" (it: it)
        (if firewall.enable or true then [ ] else [ "all (the firewall is off)" ]));
    binds = listToAttrs (pairs bind mounts);
    mounts = listToAttrs (pairs mount mounts);
    capabilities = listToAttrs (
      pairs (name: it: names "of ${name}.service" (capability: "${capability} of ${name}.service")
        (words (it.serviceConfig.AmbientCapabilities or [ ]))) services
      ++ pairs (name: it: names "of program ${name}" (capability: "${capability} of program ${name}")
        (words (it.capabilities or ""))) wrappers);
    setuid = each (_: it: or_ "fails" (seq (special it) "")) (keep special wrappers);
    wrappers = each (_: it: digest (pick [
      "source" "program" "owner" "group" "permissions" "capabilities" "setuid" "setgid"
    ] it)) wrappers;
    tmpfiles = listToAttrs (
      names "of the rules" (rule: short (toString rule)) (systemd.tmpfiles.rules or [ ])
      ++ leaves [ ] (systemd.tmpfiles.settings or { }));
    files = listToAttrs (pairs file (keep (it: it.enable or true) (config.environment.etc or { })));
    activation = snippets (config.system.activationScripts or { });
    userActivation = snippets (config.system.userActivationScripts or { });
    nix = listToAttrs (leaves [ ] (config.nix.settings or { }));
    whole = digests {
      script = without made scripts;
      inherit etc boot rest;
      packages = path;
    } // {
      genuine = if or_ false genuine then "yes" else "no";
    } // (if toplevel ? drvPath then { system = digest (built toplevel.drvPath); } else { });
  }"""
"""From the config of a NixOS system to the JSON that meta.nix.summary parses."""

SUMMARISE = f"({_FUNCTION.rstrip()})"
"""The function. hive applies it to the config of a commit's system, so that systems of older commits are summarised by
the same function. It gets the very system that would be built: another one, say without the commit's id, could be
another for that reason, and hide on the card what the commit does."""

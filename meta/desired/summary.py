"""The Nix function that summarises a system for the people who approve it."""

from __future__ import annotations

SUMMARISE = """\
# what a system is, for people who approve it; an option that is missing or fails counts as empty
summarise = config:
  let
    inherit (builtins) attrNames concatLists concatStringsSep deepSeq elem filter getAttr hashString isList;
    inherit (builtins) isString listToAttrs map mapAttrs parseDrvName substring toJSON toString tryEval;
    or_ = default: value: let got = tryEval (deepSeq value value); in if got.success then got.value else default;
    text = value: or_ "" (toString value);
    words = value: if isList value then map text value else filter (word: word != "") [ (text value) ];
    plain = builtins.unsafeDiscardStringContext;
    digest = value: or_ "" (substring 0 12 (hashString "sha256" (plain (toJSON value))));
    enabled = set: listToAttrs (map (name: { inherit name; value = getAttr name set; })
      (filter (name: or_ true ((getAttr name set).enable or true)) (attrNames set)));
    named = kind: map (name: {
      name = "${name}.${kind}";
      value = let unit = getAttr name (enabled (config.systemd."${kind}s" or { })); in digest {
        script = unit.script or "";
        config = unit."${kind}Config" or { };
        environment = unit.environment or { };
        wantedBy = unit.wantedBy or [ ];
      };
    }) (attrNames (enabled (config.systemd."${kind}s" or { })));
    services = enabled (config.systemd.services or { });
    users = config.users.users or { };
    user = _: it: concatStringsSep " " (
      [ "uid ${if or_ null (it.uid or null) == null then "any" else toString it.uid}" ]
      ++ words (or_ [ ] (it.extraGroups or [ ])));
    firewall = config.networking.firewall or { };
    range = protocol: it: "${protocol}/${toString it.from}-${toString it.to}";
    port = protocol: it: "${protocol}/${toString it}";
    wrappers = config.security.wrappers or { };
    wrapped = test: filter (name: or_ false (test (getAttr name wrappers))) (attrNames wrappers);
    mounts = config.fileSystems or { };
  in
  {
    packages = map (it: or_ { name = "unnamed"; } (
      let whole = parseDrvName (if isString it then baseNameOf it else it.name or "unnamed"); in {
        name = text (it.pname or whole.name);
        version = text (it.version or whole.version);
      })) (config.environment.systemPackages or [ ]);
    units = listToAttrs (concatLists (map named [ "service" "socket" "timer" ]));
    users = or_ { } (mapAttrs user users);
    ports = or_ [ ] (
      map (port "tcp") (firewall.allowedTCPPorts or [ ])
      ++ map (port "udp") (firewall.allowedUDPPorts or [ ])
      ++ map (range "tcp") (firewall.allowedTCPPortRanges or [ ])
      ++ map (range "udp") (firewall.allowedUDPPortRanges or [ ])
      ++ (if firewall.enable or true then [ ] else [ "all (the firewall is off)" ]));
    binds = or_ [ ] (map (name: "${text ((getAttr name mounts).device or "")} on ${name}")
      (filter (name: elem "bind" ((getAttr name mounts).options or [ ])) (attrNames mounts)));
    capabilities = or_ [ ] (
      concatLists (map (name: map (it: "${it} of ${name}.service")
        (words ((getAttr name services).serviceConfig.AmbientCapabilities or [ ]))) (attrNames services))
      ++ map (name: "${text (getAttr name wrappers).capabilities} of program ${name}")
        (wrapped (it: (it.capabilities or "") != "")));
    setuid = wrapped (it: it.setuid or false || it.setgid or false);
  };
"""
"""From a NixOS configuration to the JSON that meta.nix.summary parses."""

# systemd's options, and the unit files that follow from them.
{ lib, config, ... }:
let
  inherit (lib) mkOption types;
  option =
    type: default:
    mkOption {
      inherit type default;
    };
  names = option (types.listOf types.str) [ ];
  # as utils/systemd-unit-options.nix has it: lists of several modules become one
  directive = types.unspecified // {
    merge =
      loc: found:
      if builtins.any (one: builtins.isList one.value) found then
        builtins.concatMap (one: if builtins.isList one.value then one.value else [ one.value ]) found
      else
        types.unspecified.merge loc found;
  };
  section = option (types.attrsOf directive) { };

  common = {
    enable = option types.bool true;
    description = option types.str "";
    documentation = names;
    overrideStrategy = option (types.enum [
      "asDropinIfExists"
      "asDropin"
    ]) "asDropinIfExists";
    wantedBy = names;
    requiredBy = names;
    wants = names;
    requires = names;
    bindsTo = names;
    partOf = names;
    conflicts = names;
    after = names;
    before = names;
    unitConfig = section;
    startLimitBurst = option (types.nullOr types.int) null;
    startLimitIntervalSec = option (types.nullOr types.int) null;
  };
  service = types.submodule {
    options = common // {
      environment = option (types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.str
            types.path
            types.package
          ]
        )
      )) { };
      path = option (types.listOf (types.either types.package types.str)) [ ];
      script = option types.lines "";
      preStart = option types.lines "";
      serviceConfig = section;
      restartIfChanged = option types.bool true;
      stopIfChanged = option types.bool true;
      reloadIfChanged = option types.bool false;
      restartTriggers = option (types.listOf types.unspecified) [ ];
      startAt = option (types.either types.str (types.listOf types.str)) [ ];
    };
  };
  socket = types.submodule {
    options = common // {
      listenStreams = names;
      socketConfig = section;
    };
  };

  text = value: if builtins.isBool value then lib.boolToString value else toString value;
  lines = lib.mapAttrsToList (
    key: value: lib.concatMapStrings (one: "${key}=${text one}\n") (lib.flatten [ value ])
  );
  block = name: attrs: "[${name}]\n" + lib.concatStrings (lines attrs);
  list = key: value: lib.optionalAttrs (value != [ ]) { ${key} = builtins.concatStringsSep " " value; };
  unit =
    one:
    block "Unit" (
      lib.optionalAttrs (one.description != "") { Description = one.description; }
      // list "Documentation" one.documentation
      // list "Wants" one.wants
      // list "Requires" one.requires
      // list "BindsTo" one.bindsTo
      // list "PartOf" one.partOf
      // list "After" one.after
      // list "Before" one.before
      // lib.optionalAttrs (one.startLimitBurst != null) { StartLimitBurst = one.startLimitBurst; }
      // lib.optionalAttrs (one.startLimitIntervalSec != null) { StartLimitIntervalSec = one.startLimitIntervalSec; }
      // one.unitConfig
    );
  serviceText =
    _: one:
    unit one
    + block "Service" (
      {
        Environment = lib.mapAttrsToList (name: value: builtins.toJSON "${name}=${toString value}") (
          lib.filterAttrs (_: value: value != null) one.environment
          // lib.optionalAttrs (one.path != [ ]) {
            PATH = lib.concatMapStringsSep ":" (entry: "${entry}/bin:${entry}/sbin") one.path;
          }
        );
      }
      // one.serviceConfig
    );
  socketText = _: one: unit one + block "Socket" (one.socketConfig // list "ListenStream" one.listenStreams);
in
{
  options.systemd = {
    services = option (types.attrsOf service) { };
    sockets = option (types.attrsOf socket) { };
    timers = option (types.attrsOf types.unspecified) { };
    targets = option (types.attrsOf types.unspecified) { };
    slices = option (types.attrsOf types.unspecified) { };
    tmpfiles.rules = option (types.listOf types.str) [ ];
    # of the stub alone: each unit as a text
    stub.units = option (types.attrsOf types.str) { };
  };
  config.systemd.stub.units =
    lib.mapAttrs' (name: one: lib.nameValuePair "${name}.service" (serviceText name one)) config.systemd.services
    // lib.mapAttrs' (name: one: lib.nameValuePair "${name}.socket" (socketText name one)) config.systemd.sockets;
}

# What NixOS makes of its options on the way to a system, in the shape that it has there (24.11 to 25.11): files in /etc,
# scripts, and the parts of the toplevel. hive's summary reads these. The stub's own system is built without them.
{
  lib,
  config,
  pkgs,
  ...
}:
let
  inherit (lib) mkIf mkOption types;
  option =
    type: default:
    mkOption {
      inherit type default;
    };
  anything = option types.attrs { };
  lines = option types.lines "";
  text = name: content: pkgs.writeText name content;
  generated = content: mkIf (content != "") {
    text = content;
    generated = true;
  };
  firewall = builtins.toJSON config.networking.firewall;
  open = builtins.toJSON {
    allowedTCPPorts = [ ];
    allowedUDPPorts = [ ];
    enable = true;
  };
  json = set: if set == { } then "" else builtins.toJSON set;
  join = values: builtins.concatStringsSep "\n" values;

  settings = name: paths: join (
    lib.mapAttrsToList (
      path: kinds:
      join (lib.mapAttrsToList (kind: it: "${kind} ${path} ${it.mode or "-"} ${it.user or "-"} ${it.argument or ""}") kinds)
    ) paths
  );
  unitOf = kind: name: one: lib.nameValuePair "${name}.${kind}" (
    one // { text = config.systemd.stub.units."${name}.${kind}" or (builtins.toJSON one) + one.script or "" + one.preStart or ""; }
  );
  kinds = [
    "service"
    "socket"
    "timer"
    "path"
    "mount"
    "automount"
    "target"
    "slice"
  ];
  units = systemd: builtins.foldl' (all: kind: all // lib.mapAttrs' (unitOf kind) (systemd."${kind}s" or { })) { } kinds;
in
{
  options = {
    systemd.paths = anything;
    systemd.mounts = anything;
    systemd.automounts = anything;
    systemd.packages = option (types.listOf types.package) [ ];
    systemd.units = anything;
    systemd.tmpfiles.settings = anything;
    systemd.user.services = anything;
    systemd.user.timers = anything;
    systemd.user.units = anything;
    security.pam.services = anything;
    security.sudo.extraConfig = lines;
    boot.postBootCommands = lines;
    environment.shellInit = lines;
    fileSystems = anything;
    system.userActivationScripts = option (types.attrsOf types.unspecified) { };
    system.systemBuilderCommands = lines;
    system.extraDependencies = option (types.listOf types.package) [ ];
  };
  config = {
    systemd.units = units config.systemd;
    systemd.user.units = units config.systemd.user;

    environment.etc = {
      "systemd/system" = generated (
        json (
          lib.mapAttrs (_: one: one.text) config.systemd.units
          // lib.optionalAttrs (config.security.wrappers != { }) { inherit (config.security) wrappers; }
          // lib.optionalAttrs (firewall != open) { inherit firewall; }
        )
      );
      fstab = generated (json config.fileSystems);
      "systemd/user" = generated (
        json (
          lib.mapAttrs (_: one: one.text) config.systemd.user.units
          // lib.mapAttrs' (name: lib.nameValuePair "activation-${name}") config.system.userActivationScripts
        )
      );
      "tmpfiles.d" = generated (
        join (config.systemd.tmpfiles.rules ++ lib.mapAttrsToList settings config.systemd.tmpfiles.settings)
      );
      "nix/nix.conf" = generated (if config.nix.enable then json config.nix.settings else "");
      profile = generated config.environment.shellInit;
      set-environment = generated (json config.environment.variables);
      sudoers = mkIf (config.security.sudo.extraConfig != "") {
        text = config.security.sudo.extraConfig;
        mode = "0440";
        generated = true;
      };
    }
    // lib.mapAttrs' (
      name: it: lib.nameValuePair "pam.d/${name}" (generated it.text or (builtins.toJSON it))
    ) config.security.pam.services;

    system.activationScripts.etc = "set up ${config.system.build.etc}/etc";
    system.activationScripts.users.text = "update ${
      text "users-groups.json" (builtins.toJSON { inherit (config.users) users groups; })
    }";

    system.build.etc = text "etc" (
      builtins.toJSON (map (it: [
        it.target
        it.mode
        it.user
        it.group
        (if it.source != null then "${it.source}" else "${text "etc-file" it.text}")
      ]) (builtins.filter (it: it.enable) (builtins.attrValues config.environment.etc)))
    );
    system.build.bootStage2 = text "stage-2" config.boot.postBootCommands;

    # `drvAttrs` of the real toplevel
    system.stub.attributes = {
      name = "nixos-system";
      buildCommand = ''
        cp ${config.system.build.bootStage2} $out/init
        ln -s ${config.system.build.etc}/etc $out/etc
        ln -s ${config.system.path} $out/sw
        ${config.system.systemBuilderCommands}
      '';
      activationScript = config.system.activationScripts.script;
      extraDependencies = config.system.extraDependencies;
    };
  };
}

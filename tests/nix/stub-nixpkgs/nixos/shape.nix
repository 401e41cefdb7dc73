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
  # a file that each system has, whatever its options are
  always = content: {
    text = content;
    generated = true;
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
    systemd.generators = anything;
    security.pam.services = anything;
    security.sudo.extraConfig = lines;
    security.sudo.extraRules = option (types.listOf types.unspecified) [ ];
    security.polkit.extraConfig = lines;
    security.pki.certificates = option (types.listOf types.str) [ ];
    boot.postBootCommands = lines;
    boot.kernelModules = option (types.listOf types.str) [ ];
    boot.extraModprobeConfig = lines;
    boot.kernel.sysctl = anything;
    environment.shellInit = lines;
    environment.interactiveShellInit = lines;
    environment.shells = option (types.listOf types.str) [ ];
    networking.firewall.interfaces = anything;
    networking.firewall.trustedInterfaces = option (types.listOf types.str) [ ];
    networking.firewall.extraCommands = lines;
    networking.hosts = anything;
    networking.extraHosts = lines;
    nix.extraOptions = lines;
    programs.ssh.extraConfig = lines;
    services.cron.systemCronJobs = option (types.listOf types.str) [ ];
    services.openssh.settings = anything;
    services.udev.extraRules = lines;
    system.nssDatabases = anything;
    fileSystems = anything;
    system.userActivationScripts = option (types.attrsOf types.unspecified) { };
    system.systemBuilderCommands = lines;
    system.extraDependencies = option (types.listOf types.package) [ ];
  };
  config = {
    networking.firewall.trustedInterfaces = mkIf config.networking.firewall.enable [ "lo" ];
    systemd.units =
      units config.systemd
      // lib.optionalAttrs config.networking.firewall.enable {
        "firewall.service".text = builtins.toJSON config.networking.firewall;
      };
    systemd.user.units = units config.systemd.user;

    environment.etc = {
      "systemd/system" = generated (
        json (
          lib.mapAttrs (_: one: one.text) config.systemd.units
          // lib.optionalAttrs (config.security.wrappers != { }) { inherit (config.security) wrappers; }
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
      "nix/nix.conf" = generated (
        if config.nix.enable then json config.nix.settings + config.nix.extraOptions else ""
      );
      profile = always config.environment.shellInit;
      bashrc = always config.environment.interactiveShellInit;
      shells = always (join config.environment.shells);
      set-environment = always (builtins.toJSON config.environment.variables);
      "pam/environment" = always (builtins.toJSON config.environment.sessionVariables);
      hosts = always (builtins.toJSON config.networking.hosts + config.networking.extraHosts);
      "nsswitch.conf" = always (builtins.toJSON config.system.nssDatabases);
      "ssl/certs/ca-bundle.crt" = always (join config.security.pki.certificates);
      "ssh/ssh_config" = always config.programs.ssh.extraConfig;
      "ssh/sshd_config" = mkIf config.services.openssh.enable (always (builtins.toJSON config.services.openssh.settings));
      "modules-load.d/nixos.conf" = always (join config.boot.kernelModules);
      "modprobe.d/nixos.conf" = always config.boot.extraModprobeConfig;
      "sysctl.d/60-nixos.conf" = always (builtins.toJSON config.boot.kernel.sysctl);
      "udev/rules.d" = always config.services.udev.extraRules;
      "systemd/system-generators" = always (builtins.toJSON config.systemd.generators);
      "polkit-1/rules.d/10-nixos.rules" = mkIf config.security.polkit.enable (always config.security.polkit.extraConfig);
      crontab = mkIf (config.services.cron.systemCronJobs != [ ]) {
        text = join config.services.cron.systemCronJobs;
        mode = "0600";
        generated = true;
      };
      sudoers = {
        text = config.security.sudo.extraConfig + builtins.toJSON config.security.sudo.extraRules;
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
      "${config.system.stub.content}# "
      + builtins.toJSON (map (it: [
        it.target
        it.mode
        it.user
        it.group
        (if it.source != null then "${it.source}" else "${text "etc-file" it.text}")
      ]) (builtins.filter (it: it.enable) (builtins.attrValues config.environment.etc)))
    );
    system.build.bootStage2 = text "stage-2" config.boot.postBootCommands;

    # what is in the `drvAttrs` of the real toplevel
    system.stub.attributes = {
      buildCommand = ''
        cp ${config.system.build.bootStage2} $out/init
        ln -s ${config.system.build.etc}/etc $out/etc
        ln -s ${config.system.path} $out/sw
        ${config.system.systemBuilderCommands}
      '';
      activationScript = config.system.activationScripts.script;
      inherit (config.system) dryActivationScript;
      extraDependencies = config.system.extraDependencies;
    };
  };
}

# config.system: the toplevel is a raw derivation with an `init` that boots and, as JSON, what was configured.
{
  lib,
  config,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  failed = map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
  summary = builtins.toJSON {
    host = config.networking.hostName;
    units = config.systemd.stub.units;
    etc = lib.mapAttrs (
      _: file: if file.text != null then file.text else builtins.readFile file.source
    ) (lib.filterAttrs (_: file: !file.generated) config.environment.etc);
    users = builtins.attrNames config.users.users;
    packages = map toString config.environment.systemPackages;
    variables = config.environment.variables;
  };
  files = [
    {
      path = "system.json";
      text = summary;
    }
  ]
  ++ import ./boot.nix { inherit lib config; };
in
{
  options.system = {
    stateVersion = mkOption {
      type = types.str;
      default = "25.11";
    };
    configurationRevision = mkOption {
      type = types.nullOr types.str;
      default = null;
    };
    disableInstallerTools = mkOption {
      type = types.bool;
      default = false;
    };
    path = mkOption {
      type = types.unspecified;
      default = pkgs.symlinkJoin {
        name = "system-path";
        paths = config.environment.systemPackages;
      } // {
        inputDerivation = pkgs.hello;
      };
    };
    activationScripts = mkOption {
      type = types.attrsOf types.unspecified;
      default = { };
      apply =
        set:
        set
        // {
          script = builtins.concatStringsSep "\n" (
            lib.mapAttrsToList (_: one: if builtins.isString one then one else one.text) set
          );
        };
    };
    dryActivationScript = mkOption {
      type = types.str;
      default = "";
    };
    stub = mkOption {
      type = types.attrs;
      default = { };
    };
    build = mkOption {
      type = types.lazyAttrsOf types.unspecified;
      default = { };
    };
  };
  # the one thing of NixOS that depends on the commit
  config.environment.systemPackages = lib.optional (config.nix.enable && !config.system.disableInstallerTools) (
    pkgs.writeText "nixos-version" (toString config.system.configurationRevision) // { version = "25.11"; }
  );
  # a program that writes what the stub's system consists of: /etc of a real one is a derivation of its own as well
  config.system.stub.content = lib.concatMapStrings (
    file: "put ${lib.escapeShellArg file.path} ${lib.escapeShellArg file.text}\n"
  ) files;
  config.system.build.toplevel =
    if failed != [ ] then
      throw "\nFailed assertions:\n${lib.concatMapStringsSep "\n" (text: "- ${text}") failed}"
    else
      lib.showWarnings config.warnings (
        derivation (
          # so that what changes the real toplevel changes this one
          config.system.stub.attributes
          // {
            name = "nixos-system-${config.networking.hostName}-stub";
            system = config.nixpkgs.hostPlatform;
            builder = "/bin/sh";
            args = [
              "-c"
              ''
                PATH=/run/current-system/sw/bin:/usr/bin:/bin
                put() { mkdir -p "$(dirname "$out/$1")" && printf %s "$2" > "$out/$1"; }
                . ${config.system.build.etc}
                cat ${./init.sh} > $out/init
                chmod +x $out/init
                ln -s /usr $out/sw
                echo stub > $out/nixos-version
              ''
            ];
          }
        )
        // {
          inputDerivation = pkgs.hello;
        }
      );
}

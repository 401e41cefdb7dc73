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
  boot = import ./boot.nix { inherit lib config; };
  files = builtins.genList (
    number: builtins.elemAt boot number // { key = "file${toString number}"; }
  ) (builtins.length boot);
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
  config.system.build.toplevel =
    if failed != [ ] then
      throw "\nFailed assertions:\n${lib.concatMapStringsSep "\n" (text: "- ${text}") failed}"
    else
      lib.showWarnings config.warnings (
        derivation (
          {
            name = "nixos-system-${config.networking.hostName}-stub";
            system = config.nixpkgs.hostPlatform;
            inherit summary;
            passAsFile = [ "summary" ] ++ map (file: file.key) files;
            builder = "/bin/sh";
            args = [
              "-c"
              ''
                PATH=/run/current-system/sw/bin:/usr/bin:/bin
                put() { mkdir -p "$(dirname "$out/$2")" && cat "$1" > "$out/$2"; }
                put "$summaryPath" system.json
                ${lib.concatMapStrings (file: "put \"\$${file.key}Path\" ${lib.escapeShellArg file.path}\n") files}
                cat ${./init.sh} > $out/init
                chmod +x $out/init
                ln -s /usr $out/sw
                echo stub > $out/nixos-version
              ''
            ];
          }
          // builtins.listToAttrs (map (file: lib.nameValuePair file.key file.text) files)
          # so that whatever changes the real toplevel changes this one
          // {
            shape = builtins.toJSON config.system.stub.attributes;
          }
        )
        // {
          drvAttrs = config.system.stub.attributes;
          inputDerivation = pkgs.hello;
        }
      );
}

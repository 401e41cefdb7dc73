# config.system: the toplevel is a raw derivation with an `init` and, as JSON, what was configured.
{ lib, config, ... }:
let
  inherit (lib) mkOption types;
  failed = map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
  summary = builtins.toJSON {
    host = config.networking.hostName;
    revision = config.system.configurationRevision;
    units = config.systemd.stub.units;
    etc = lib.mapAttrs (
      _: file: if file.text != null then file.text else builtins.readFile file.source
    ) config.environment.etc;
    users = builtins.attrNames config.users.users;
    packages = map toString config.environment.systemPackages;
    variables = config.environment.variables;
  };
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
    activationScripts = mkOption {
      type = types.attrsOf types.unspecified;
      default = { };
    };
    build = mkOption {
      type = types.lazyAttrsOf types.unspecified;
      default = { };
    };
  };
  config.system.build.toplevel =
    if failed != [ ] then
      throw "\nFailed assertions:\n${lib.concatMapStringsSep "\n" (text: "- ${text}") failed}"
    else
      lib.showWarnings config.warnings (derivation {
        name = "nixos-system-${config.networking.hostName}-stub";
        system = config.nixpkgs.hostPlatform;
        inherit summary;
        passAsFile = [ "summary" ];
        builder = "/bin/sh";
        args = [
          "-c"
          ''
            PATH=/run/current-system/sw/bin:/usr/bin:/bin
            mkdir -p $out
            cat "$summaryPath" > $out/system.json
            printf '#!/bin/sh\nexec true\n' > $out/init
            chmod +x $out/init
            echo stub > $out/nixos-version
          ''
        ];
      });
}

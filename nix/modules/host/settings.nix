# services.hive.settings: the daemon's own settings. settings.json is written from meta/config.py by
# `python -m tests.nix.generate`, and a test compares the two.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.hive;
  fields = builtins.fromJSON (builtins.readFile ./settings.json);

  bounded =
    field: type:
    types.addCheck type (
      value:
      (!field ? above || value > field.above)
      && (!field ? least || value >= field.least)
      && (!field ? most || value <= field.most)
    );
  range =
    field:
    if field ? above then
      " more than ${toString field.above}"
    else if field ? least then
      " of at least ${toString field.least}${
        lib.optionalString (field ? most) " and at most ${toString field.most}"
      }"
    else
      "";
  typeOf =
    field:
    {
      number = bounded field types.number // {
        description = "number${range field}";
      };
      integer = bounded field types.int // {
        description = "whole number${range field}";
      };
      boolean = types.bool;
      string = if field ? pattern then types.strMatching field.pattern else types.str;
    }
    .${field.type};
  option =
    _: field:
    mkOption {
      type = types.nullOr (typeOf field);
      default = null;
      description = "${field.description}; null: ${builtins.toJSON field.default}.";
    };

  # A path in the store is taken as it is, with a reference that keeps it; interpolated it would be copied there again,
  # under another name. Any other path is copied, for the daemon need not see it.
  stored =
    path:
    let
      text = toString path;
      below = lib.removePrefix "${builtins.storeDir}/" text;
      entry = "${builtins.storeDir}/${builtins.head (lib.splitString "/" below)}";
    in
    if below != text && !builtins.hasContext text then
      builtins.appendContext text { ${entry}.path = true; }
    else
      "${path}";

  text = value: if builtins.isString value then value else builtins.toJSON value;
  # the flake that the host's own system comes from, if there is one: the containers then share its packages
  source = config.nixpkgs.flake.source or null;

  # notify_file is loaded as a credential: credentials.nix
  given = lib.filterAttrs (key: value: value != null && key != "notify_file") cfg.settings;
  line = key: value: "HIVE_${lib.toUpper key}=${builtins.toJSON (text value)}\n";
in
{
  options.services.hive.settings = mkOption {
    type = types.submodule { options = lib.mapAttrs option fields; };
    default = { };
    example = {
      builds = 4;
      health_deadline = 120;
    };
    description = ''
      The daemon's settings. Only those that are set are written to `/etc/hive/daemon.env`; the daemon checks them when
      it starts and names the one that is wrong.
    '';
  };

  config = lib.mkIf cfg.enable {
    services.hive.settings = {
      nixpkgs = lib.mkDefault "path:${stored (if source == null then pkgs.path else source)}";
      hyperhive = lib.mkDefault "path:${(import ../../packages/source.nix { inherit lib; }).agents}";
      push_group = lib.mkDefault cfg.group;
    }
    // lib.optionalAttrs (cfg.backend == "nixos") {
      # above what systemd-nspawn picks for other containers (524288 to 1879048191), what LXD takes without being told
      # (1000000000 from 1000000 on) and what useradd gives to users (to 600100000); below what podman and systemd take
      uid_start = lib.mkDefault 1879048192;
    };
    environment.etc."hive/daemon.env".text = lib.concatStrings (lib.mapAttrsToList line given);
  };
}

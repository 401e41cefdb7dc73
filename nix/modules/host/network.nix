# services.hive.network: the operator's file for the way out, and the keys that stay outside of containers.
# docs/reference/network.md has the file's format; hive-egress and the daemon each read it and check the rest.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.services.hive;
  net = cfg.network;
  toml = import ../agent/toml.nix { inherit lib; };
  inherit (import ./secret-paths.nix { inherit config lib; }) reachable stored;

  option =
    type: default: description:
    mkOption { inherit type default description; };
  maybe = type: description: option (types.nullOr type) null description;
  matching =
    what: pattern:
    types.strMatching pattern
    // {
      description = what;
    };

  form = import ../agent/rule-form.nix;
  entry = matching "host, host:port, *.host or @group" form.entry;
  rule = matching "host, host:port or *.host" form.rule;
  address = matching "IP address" "[0-9]{1,3}([.][0-9]{1,3}){3}|[0-9a-f:.]*:[0-9a-f:.]*";
  isName = name: builtins.match form.group name != null;
  agent = matching "name of an agent, or *" "[*]|[a-z]([a-z0-9-]{0,9}[a-z0-9])?";

  credential = {
    options = {
      file = mkOption {
        type = types.path;
        example = "/run/secrets/anthropic";
        description = "The file with the key alone, of root, which exists when hive-egress starts, such as sops-nix and agenix make. A string: never in the store.";
      };
      kind = maybe (types.enum (import ./network-kinds.nix)) "Whose key it is; null: the route's own name.";
      upstream = maybe (matching "https://HOST or http://HOST, with a port or without" "https?://[^/?#@ ]+/?") "Where requests with the key go; null: the kind's own.";
      header = maybe types.str "The header that has the key; null: the kind's own.";
      value = maybe types.str "The header's value, with `{key}` in the key's place; null: the kind's own.";
      user = maybe types.str "The user of a key that goes by basic authentication (`git`); null: x-access-token.";
      agents = maybe (types.listOf agent) "The agents that may use it; null: all.";
      paths = maybe (types.listOf (
        matching "METHOD /path" "(GET|HEAD|POST|PUT|PATCH|DELETE) /[!-~]*"
      )) "The requests it serves; a path that ends with / has all that is below it; null: the kind's own.";
    };
  };

  names = builtins.attrNames net.credentials;
  quoted = lib.concatMapStringsSep ", " (name: "services.hive.network.credentials.${name}");
  such = test: builtins.filter (name: test net.credentials.${name}.file) names;
  misnamed =
    map (name: "credentials.${name}") (builtins.filter (name: !isName name) names)
    ++ map (name: "groups.${name}") (builtins.filter (name: !isName name) (builtins.attrNames net.groups));
  inStore = such stored;
  misplaced = such (file: !stored file && !reachable file);
  kindless = builtins.filter (
    name: net.credentials.${name}.kind == null && !builtins.elem name (import ./network-kinds.nix)
  ) names;
  nowhere = builtins.filter (
    name:
    (net.credentials.${name}.kind == "http" || name == "http" && net.credentials.${name}.kind == null)
    && net.credentials.${name}.upstream == null
  ) names;

  used = lib.flatten (
    lib.optional (net.ceiling != null) net.ceiling ++ lib.attrValues net.groups ++ [ net.private ]
  );
  wanted = map (lib.removePrefix "@") (builtins.filter (lib.hasPrefix "@") used);
  unknown = builtins.filter (name: !net.groups ? ${name}) wanted;

  clean = lib.filterAttrs (_: value: value != null);
  table = {
    inherit (net) private hosts groups;
    limits = clean net.limits;
    credentials = lib.mapAttrs (
      name: one:
      clean (one // {
        # systemd loads it: hive-egress alone can read it there, and never root's own file
        file = "/run/credentials/hive-egress.service/${name}";
      })
    ) net.credentials;
  };
  given = lib.filterAttrs (_: value: value != [ ] && value != { }) table;
in
{
  options.services.hive.network = {
    ceiling = mkOption {
      type = types.nullOr (types.nonEmptyListOf entry);
      default = null;
      example = [
        "*.example.org"
        "@python"
      ];
      description = "Hosts and groups beyond which no agent may reach, whatever its agent.toml says and whoever approves it. null: no ceiling.";
    };
    groups = mkOption {
      type = types.attrsOf (types.listOf rule);
      default = { };
      example = {
        python = [
          "pypi.org"
          "files.pythonhosted.org"
        ];
      };
      description = "Names for lists of hosts: `@python` in agent.toml. hive has none of its own.";
    };
    private = mkOption {
      type = types.listOf (matching "host:port" "(${form.host}):${form.port}");
      default = [ ];
      example = [ "registry.corp:443" ];
      description = "Hosts that may have a private address or one of this host, each at one port. All others are refused, also if an agent's list has them.";
    };
    hosts = mkOption {
      type = types.attrsOf address;
      default = { };
      example = {
        "registry.corp" = "10.1.2.3";
      };
      description = "Addresses of names that no resolver is asked for.";
    };
    limits = {
      connections = maybe (types.ints.between 1 100000) "Connections of one agent at the same time; null: 256.";
      bytes_per_second = maybe (types.ints.between 1024 1000000000000) "Bytes per second of one agent, both ways together; null: no limit.";
      idle_seconds = maybe (types.ints.between 900 10000000) "Seconds without a byte after which a connection ends; null: 3600.";
    };
    credentials = mkOption {
      type = types.attrsOf (types.submodule credential);
      default = { };
      example = {
        anthropic.file = "/run/secrets/anthropic";
        github = {
          kind = "git";
          file = "/run/secrets/github";
          agents = [ "alice" ];
        };
      };
      description = ''
        Keys that no container has: hive-egress adds them to the requests that an agent sends to the route of this name.
        The unit loads each file as a credential when it starts, so a new key needs `systemctl restart hive-egress`; a file
        that is missing closes its own route only.
      '';
    };
    file = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/etc/hive-network.toml";
      description = ''
        A file of your own in place of `groups`, `private`, `hosts`, `limits` and `credentials` (docs/reference/network.md).
        It is read again when it changes. The files of its keys must be readable by the user hive-egress alone.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc."hive/network.toml" = lib.mkIf (net.file == null) {
      text = "# services.hive.network\n${toml given}";
    };

    assertions = [
      {
        assertion = net.file == null || given == { };
        message = "services.hive.network.file is a file of your own, and ${lib.concatStringsSep ", " (builtins.attrNames given)} of services.hive.network would not be in it; write all there, or remove `file`.";
      }
      {
        assertion =
          net.file == null
          || builtins.isPath net.file
          || builtins.hasContext (toString net.file)
          || (
            reachable net.file
            && !lib.hasPrefix "${toString cfg.stateDir}/" (toString net.file)
            && !lib.hasPrefix "${toString cfg.runtimeDir}/" (toString net.file)
          );
        message = "services.hive.network.file = \"${toString net.file}\" is in a place that hive-egress does not see; use one such as \"/etc/hive-network.toml\".";
      }
      {
        assertion = misnamed == [ ];
        message = "names in services.hive.network have a-z, 0-9 and '-', 32 characters at most: ${lib.concatStringsSep ", " misnamed} cannot be.";
      }
      {
        assertion = inStore == [ ];
        message = "${quoted inStore} would be in the store, where every user and every agent can read it (so is what environment.etc makes of a text); give the path of a file that exists at run time, as a string: \"/run/secrets/NAME\" of sops-nix or config.age.secrets.NAME.path of agenix. If the key was copied there already, change it.";
      }
      {
        assertion = misplaced == [ ];
        message = "${quoted misplaced}: the path has characters that cannot stand in a unit, or is in a place that hive's units do not see; use one such as \"/run/secrets/anthropic\".";
      }
      {
        assertion = kindless == [ ];
        message = "${quoted kindless} needs a kind, because its name is none; there are ${lib.concatStringsSep ", " (import ./network-kinds.nix)}.";
      }
      {
        assertion = nowhere == [ ];
        message = "${quoted nowhere} needs an upstream: the kind \"http\" has none of its own.";
      }
      {
        assertion = net.file != null || unknown == [ ];
        message = "services.hive.network.ceiling names ${lib.concatMapStringsSep ", " (name: "@${name}") unknown}, and services.hive.network.groups has no such group; add it, or name the hosts.";
      }
    ];
  };
}

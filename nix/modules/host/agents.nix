# services.hive.agents and services.hive.agentModules: agents that the host's configuration declares.
# The daemon follows /etc/hive/agents.json without a restart: docs/decisions/0017-declared-agents.md.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.hive;
  toml = import ../agent/toml.nix { inherit lib; };
  # the same options as inside a container
  settings =
    (import ../agent/settings.nix {
      inherit lib;
      config = { };
    }).options.hive.agent.settings;

  agent = {
    options = {
      settings = mkOption {
        type = types.nullOr (types.submodule { options = settings; });
        default = null;
        example = {
          label = "Alice";
          recipients = [ "operator" ];
        };
        description = "agent.toml, with the options of `hive.agent.settings`. null: git has the file.";
      };
      module = mkOption {
        type = types.nullOr types.path;
        default = null;
        example = lib.literalExpression "./alice.nix";
        description = ''
          A NixOS module for the inside of the container: a file, or a folder with a default.nix if it needs other
          files beside it. null: git has agent.nix. It is copied into the store and into the agent's repo: no secrets.
        '';
      };
    };
  };

  written = name: one: {
    settings = if one.settings == null then null else toml one.settings;
    module = if one.module == null then null else "${one.module}";
  };

  modules = import ./agent-modules.nix {
    inherit lib pkgs;
    modules = cfg.agentModules;
  };

  inherit (import ../agent/names.nix) reserved valid;
  names = builtins.attrNames cfg.agents;
  quoted = lib.concatMapStringsSep ", " (name: "\"${name}\"");
  wrong = builtins.filter (name: !valid name) names;
  taken = builtins.filter (name: config.containers ? ${name}) names;

  # Read here, so that nixos-rebuild itself names the file and line of a syntax error. A path in a string may be one
  # that a build makes, so hive reads it.
  isModule =
    path:
    !builtins.isPath path
    || (builtins.pathExists path && (lib.isFunction (import path) || builtins.isAttrs (import path)));
  given = builtins.filter (path: path != null) (
    map (one: one.module) (builtins.attrValues cfg.agents) ++ cfg.agentModules
  );
  strange = builtins.filter (path: !isModule path) given;
in
{
  options.services.hive = {
    agents = mkOption {
      type = types.attrsOf (types.submodule agent);
      default = { };
      example = lib.literalExpression ''
        {
          alice = {
            settings.label = "Alice";
            module = ./alice.nix;
          };
        }
      '';
      description = ''
        Agents that this configuration declares. Each is a proposal that `nixos-rebuild` approved; what git changed too
        waits for a person. An agent that came with its declaration is stopped when that is removed, and `hive destroy`
        removes it; the manager, and what git had before, go on.
      '';
    };

    agentModules = mkOption {
      type = types.listOf types.path;
      default = [ ];
      example = lib.literalExpression "[ ./company-ca ./overlays.nix ]";
      description = ''
        NixOS modules for the inside of every agent's container, declared or not: certificates, caches, packages,
        `nixpkgs.overlays` and `nixpkgs.config`. Files, or folders with a default.nix if they need other files beside it.
        The host's own settings do not reach containers; import the same file on the host to share it.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc."hive/agents.json".text = builtins.toJSON {
      version = 1;
      revision = config.system.configurationRevision;
      profile = "/nix/var/nix/profiles/system";
      agents = lib.mapAttrs written cfg.agents;
    };
    services.hive.settings = {
      declared = lib.mkDefault "/etc/hive/agents.json";
      agent_modules = lib.mkIf (cfg.agentModules != [ ]) (lib.mkDefault "path:${modules}");
    };

    assertions = [
      {
        assertion = wrong == [ ];
        message = "services.hive.agents has ${quoted wrong}: the name of an agent has a-z, 0-9 and '-', begins with a letter, has 11 characters at most (nixos-container takes no longer ones, because the host's network interface `ve-<name>` has to fit), and is none of ${quoted reserved}.";
      }
      {
        assertion = taken == [ ];
        message = "services.hive.agents has ${quoted taken}, and containers of yours have that name; rename one of the two.";
      }
      {
        assertion = strange == [ ];
        message = "services.hive.agents and agentModules have ${quoted (map toString strange)}, which is no NixOS module: give a file that has one, or a folder with a default.nix.";
      }
      {
        assertion = cfg.agents == { } || cfg.builder == "nix" || builtins.all (one: one.module == null) (builtins.attrValues cfg.agents);
        message = "services.hive.agents has a module, which builder = \"plain\" does not build; remove it, or use builder = \"nix\".";
      }
      {
        assertion = cfg.agentModules == [ ] || cfg.builder == "nix";
        message = "services.hive.agentModules has modules, which builder = \"plain\" does not build; remove them, or use builder = \"nix\".";
      }
    ];
  };
}

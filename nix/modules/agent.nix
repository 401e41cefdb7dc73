# An agent's container: the harness as an ordinary user, what it reads, where it writes. For every agent, any template.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
in
{
  imports = [
    ./agent/settings.nix
    ./agent/assertions.nix
    ./agent/harness.nix
  ];

  options.hive.agent = {
    enable = mkOption {
      type = types.bool;
      default = true;
      description = "Whether the harness runs. Without it no commit passes hive's health gate.";
    };

    role = mkOption {
      type = types.enum [
        "agent"
        "manager"
      ];
      default = "agent";
      description = "Which template this is. What an agent may do follows from the socket it has, not from this.";
    };

    package = mkOption {
      type = types.package;
      default = pkgs.callPackage ../packages/hive-harness.nix { };
      defaultText = lib.literalExpression "hive.packages.\${system}.hive-harness";
      description = "The package with `hive-harness`.";
    };

    runtimes = mkOption {
      type = types.listOf types.str;
      default = [ "script" ];
      description = "The runtimes that `package` has. Another one in `settings.runtime` is refused before anything is built.";
    };

    cli.package = mkOption {
      type = types.nullOr types.package;
      default = null;
      example = lib.literalExpression "pkgs.claude-code";
      description = ''
        The coding agent's command line, for runtimes that drive one. There is no default: it may be unfree, and whether
        that is installed is the operator's decision.
      '';
    };

    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.ripgrep pkgs.jq ]";
      description = "What the agent finds on its PATH, beyond the container's packages.";
    };

    user = mkOption {
      type = types.str;
      default = "agent";
      description = "The ordinary user that the harness, and so the coding agent, runs as.";
    };

    uid = mkOption {
      type = types.ints.between 1000 60000;
      default = 1000;
      description = "Its uid in the container. On the host it lies in the agent's own range of 65,536. The manager's is 1000: hive gives the proposed work trees to that one.";
    };

    home = mkOption {
      type = types.path;
      default = "/home/agent";
      description = "Its home, with the credentials. hive binds it there, so it outlives the container.";
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        EDITOR = "true";
      };
      description = "More variables for the harness and what it starts. No place for secrets: it is readable in the store.";
    };
  };
}

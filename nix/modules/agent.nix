# An agent's container: harness and coding agent as ordinary users, the files it reads and writes. For every agent and template.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption types;
in
{
  imports = [
    ./agent/settings.nix
    ./agent/assertions.nix
    ./agent/cli.nix
    ./agent/credentials.nix
    ./agent/harness.nix
    ./agent/nix.nix
    ./agent/scope.nix
    ./agent/starter.nix
  ];

  options.hive.agent = {
    enable = mkOption {
      type = types.bool;
      default = true;
      description = "Run the harness. Without it no commit passes hive's health gate.";
    };

    role = mkOption {
      type = types.enum [
        "agent"
        "manager"
      ];
      default = "agent";
      description = "The template. It does not determine the agent's rights: its socket does.";
    };

    package =
      lib.mkPackageOption { hive-harness = pkgs.callPackage ../packages/hive-harness.nix { }; }
        "hive-harness"
        { pkgsText = "hive.packages.\${system}"; };

    runtimes = mkOption {
      type = types.listOf types.str;
      default = import ./agent/runtimes.nix;
      description = "The runtimes that `package` has. Evaluation fails if `settings.runtime` is not one of them.";
    };

    packages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.ripgrep pkgs.jq ]";
      description = "Packages on the agent's PATH, beyond those of the container.";
    };

    user = mkOption {
      type = types.str;
      default = "agent";
      description = "The ordinary user that runs the coding agent, and the scripts of the runtime `script`. The harness of a coding agent has a user of its own, `hive-harness`.";
    };

    uid = mkOption {
      type = types.ints.between 1000 60000;
      default = 1000;
      description = "The user's uid in the container. On the host it lies in the agent's own range of 65,536. The manager's must be 1000, because hive gives the proposed work trees to that uid.";
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        EDITOR = "true";
      };
      description = "More variables for the harness and its programs. None of those that hive sets, such as HIVE_AGENT and HOME. No secrets: the store is readable. See `hive.agent.credentials`.";
    };
  };
}

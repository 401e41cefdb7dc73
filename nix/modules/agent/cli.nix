# The coding agent's command line: nixpkgs' package for the runtime, if nixpkgs has it and its licence is allowed.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.hive.agent;
  inherit (cfg.settings) runtime command;
  packages = {
    claude = "claude-code";
    codex = "codex-acp";
    gemini = "gemini-cli";
    opencode = "opencode";
    claude-acp = "claude-agent-acp";
  };
  name = packages.${runtime} or null;
  # nixpkgs refuses an unfree package when it is evaluated, not when it is named
  isAllowed = (builtins.tryEval pkgs.${name}.outPath).success;
  isThere = name != null && pkgs ? ${name};
  missing =
    if runtime == "acp" then
      "has no coding agent of its own; set hive.agent.settings.command"
    else if isThere then
      "needs pkgs.${name}, which this nixpkgs does not let be evaluated, because it is unfree, broken or not for this system. If you allow it: nixpkgs.config.allowUnfreePredicate = package: builtins.elem (lib.getName package) [ \"${name}\" ]; in agent.nix, or for all agents in services.hive.agentModules"
    else
      "needs pkgs.${toString name}, which this nixpkgs does not have; set hive.agent.cli.package";
in
{
  options.hive.agent.cli.package = lib.mkOption {
    type = lib.types.nullOr lib.types.package;
    default = null;
    example = lib.literalExpression "pkgs.claude-code";
    description = ''
      The coding agent's command line, on the PATH of the harness. Without a value it is that of the runtime: `claude`
      has pkgs.claude-code, `codex` pkgs.codex-acp, `gemini` pkgs.gemini-cli, `opencode` pkgs.opencode, `claude-acp`
      pkgs.claude-agent-acp, if nixpkgs has it and its licence is allowed. hive allows no unfree package by itself. With
      `settings.command` none is needed.
    '';
  };

  config = lib.mkIf cfg.enable {
    hive.agent.cli.package = lib.mkIf (command == null && isThere && isAllowed) (lib.mkDefault pkgs.${name});
    assertions = [
      {
        assertion =
          runtime == "script"
          || !builtins.elem runtime cfg.runtimes
          || command != null
          || (runtime != "acp" && cfg.cli.package != null);
        message = "hive.agent.settings.runtime = \"${runtime}\" ${missing}.";
      }
      {
        assertion = runtime != "script" || command == null;
        message = "hive.agent.settings.command: the runtime \"script\" starts no coding agent; leave it out, or set another runtime.";
      }
    ];
  };
}

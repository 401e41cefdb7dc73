{ config, lib, ... }:
let
  cfg = config.hive.agent;
  names = import ./names.nix;
  oldest = import ../../packages/oldest.nix;
  # what harness.nix and launch.env set
  taken = builtins.filter (name: cfg.environment ? ${name}) [
    "HIVE_AGENT"
    "HIVE_AGENTS"
    "HIVE_BOOT_NONCE"
    "HIVE_CLI_FILES"
    "HIVE_CLI_STARTER"
    "HIVE_CONFIG"
    "HIVE_EGRESS_PORT"
    "HIVE_GENERATION"
    "HIVE_OWN"
    "HIVE_ROLE"
    "HIVE_RUN"
    "HIVE_STATE"
    "HOME"
  ];
in
{
  assertions = lib.optionals cfg.enable [
    {
      assertion = lib.versionAtLeast lib.trivial.release oldest;
      message = "this nixpkgs is ${lib.trivial.release}, and hive.agent needs ${oldest} or later; on the host set services.hive.settings.nixpkgs, or follow a newer nixpkgs there.";
    }
    {
      assertion = builtins.elem cfg.settings.runtime cfg.runtimes;
      message = "hive.agent.settings.runtime = \"${cfg.settings.runtime}\": hive.agent.package has no such runtime (hive.agent.runtimes), so the agent could not start; use \"script\".";
    }
    {
      assertion = cfg.user != "hive-harness";
      message = "hive.agent.user = \"hive-harness\": that is the harness's own user, which the coding agent must not be; leave it at \"agent\".";
    }
    {
      assertion = cfg.user != "root";
      message = "hive.agent.user = \"root\": the harness runs as an ordinary user; leave it at \"agent\" and give single programs what they need.";
    }
    {
      assertion = cfg.role != "manager" || cfg.uid == 1000;
      message = "hive.agent.uid = ${toString cfg.uid}: hive gives the proposed work trees to the uid 1000 of the manager's container, so another one could not write them; leave hive.agent.uid at 1000 for the manager (other agents may have any).";
    }
    {
      assertion = config.boot.isContainer;
      message = "hive.agent is for the inside of a container, and boot.isContainer is false; on the host use services.hive.";
    }
    {
      assertion = config.nix.enable == cfg.nix.enable;
      message = "nix.enable = ${lib.boolToString config.nix.enable}: hive hides the host's nix daemon from its containers; set hive.agent.nix.enable = ${lib.boolToString config.nix.enable} instead, which gives an agent a daemon of its container's own, or none.";
    }
    {
      assertion = names.valid config.networking.hostName;
      message = "networking.hostName = \"${config.networking.hostName}\" is the agent's name for hive; it has a-z, 0-9 and '-', 11 characters at most, and is none of ${lib.concatStringsSep ", " names.reserved}.";
    }
    {
      assertion = taken == [ ];
      message = "hive.agent.environment has ${lib.concatStringsSep " and " taken}, which hive sets: the harness would take itself for another agent, or look in other places; use another name.";
    }
  ];
}

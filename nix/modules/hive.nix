# hive on a NixOS host: the options of services.hive.
{ lib, pkgs, ... }:
let
  inherit (lib) mkOption mkEnableOption types;
in
{
  imports = [
    ./host/settings.nix
    ./host/agents.nix
    ./host/assertions.nix
    ./host/nix-users.nix
    ./host/accounts.nix
    ./host/daemon.nix
    ./host/dashboard.nix
    ./host/privileged.nix
    ./host/containers.nix
    ./host/credentials.nix
    ./host/network.nix
    ./host/egress.nix
  ];

  options.services.hive = {
    enable = mkEnableOption "hive, the daemon that keeps coding agents in containers equal to git";

    package =
      lib.mkPackageOption { hive = pkgs.callPackage ../packages/hive.nix { }; } "hive"
        {
          pkgsText = "hive.packages.\${system}";
          extraDescription = "It has the daemon, the root helper and the `hive` command.";
        };

    stateDir = mkOption {
      type = types.path;
      default = "/var/lib/hyperhive";
      description = ''
        Everything that hive keeps: meta, the agents' repos, their state and homes, the database.
        Plain characters only, a directory that nothing else has (not below /etc or /nix), and not below /home, /root, /run or /tmp,
        which the units do not see or which do not last.
      '';
    };

    runtimeDir = mkOption {
      type = types.path;
      default = "/run/hyperhive";
      description = "The sockets: the operator's, and a directory for each agent, which its container has as /run/hive. It must be below /run.";
    };

    group = mkOption {
      type = types.str;
      default = "hive";
      description = "The group whose members are operators: they may use `hive`, and so approve proposals.";
    };

    operators = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "ada" ];
      description = "Users to put into that group. Each may approve the code that runs on this host.";
    };

    backend = mkOption {
      type = types.enum [
        "nixos"
        "local"
      ];
      default = "nixos";
      description = "How agents run: `nixos` in NixOS containers, `local` in bubblewrap without a system of their own.";
    };

    builder = mkOption {
      type = types.enum [
        "nix"
        "plain"
      ];
      default = "nix";
      description = "How a commit is built: `nix` builds the container's system, `plain` only checks agent.toml.";
    };

    watchdog = mkOption {
      type = types.nullOr types.ints.positive;
      default = 120;
      description = "Seconds without a sign of life after which systemd restarts the daemon (agents keep running). null: no watchdog.";
    };

    revision = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "hive's own revision, recorded with each generation. null: the version and a hash of the files that agents depend on, so a commit that changes none of them outdates no agent.";
    };
  };
}

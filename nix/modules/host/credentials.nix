# Secrets: files that exist at run time, given by their paths. None is ever in the store, which all users and agents read.
# services.hive.credentials is what agents get; hive's own is the file of settings.notify_file.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.hive;

  given = lib.flatten (
    lib.mapAttrsToList (
      agent:
      lib.mapAttrsToList (
        id: path: {
          inherit agent id path;
          option = "services.hive.credentials.${agent}.${id}";
        }
      )
    ) cfg.credentials
  );
  such = test: builtins.filter test given;
  options = lib.concatMapStringsSep " and " (one: one.option);

  valid =
    one:
    (import ../agent/names.nix).formed one.agent
    && builtins.match "[A-Za-z][A-Za-z0-9_-]{0,63}" one.id != null;
  inherit (import ./secret-paths.nix { inherit config lib; }) reachable stored;

  misnamed = such (one: !(valid one));
  inStore = such (one: stored one.path);
  misplaced = such (one: !(stored one.path) && !(reachable one.path));

  text = key: if cfg.settings.${key} == null then "" else cfg.settings.${key};
  # https://TOKEN@host, any://USER:PASSWORD@host, and a parameter that is named after a secret. `git@` of ssh is none.
  hasLogin =
    key:
    builtins.any (shape: builtins.match shape (lib.toLower (text key)) != null) [
      ".*https?://[^/?]*@.*"
      ".*://[^/?@]*:[^/?]*@.*"
      ".*[?&][^=&]*(token|secret|passw|api_?key)[^=&]*=.*"
    ];
  byValue =
    lib.optional (lib.hasInfix "://" (text "notify")) "notify"
    ++ builtins.filter hasLogin [
      "nixpkgs"
      "hyperhive"
      "agent_modules"
    ];
  own = text "notify_file";
  # a link into the store is only seen when it is followed
  check = pkgs.writeShellScript "hive-notify-file" ''
    case $(${pkgs.coreutils}/bin/readlink -f ${lib.escapeShellArg own}) in
    ${builtins.storeDir}/*)
      echo ${lib.escapeShellArg "${own} lies in the store, where every user can read it: let sops-nix or agenix make it"} >&2
      exit 1
      ;;
    esac
  '';
in
{
  options.services.hive.credentials = mkOption {
    type = types.attrsOf (types.attrsOf types.path);
    default = { };
    example = {
      alice.github-token = "/run/secrets/alice-github";
    };
    description = ''
      Credentials of agents: by agent and id, the path of a file of root that exists when the agent starts, such as
      sops-nix and agenix make. The agent gets those that its `hive.agent.credentials` names, as files in
      `$CREDENTIALS_DIRECTORY`. hive's daemon reads none of them. A changed file arrives with the agent's next start.
    '';
  };

  config = lib.mkIf cfg.enable {
    environment.etc = lib.mkIf (cfg.credentials != { }) {
      "hive/credentials.json".text = builtins.toJSON {
        version = 1;
        agents = lib.mapAttrs (_: lib.mapAttrs (_: toString)) cfg.credentials;
      };
    };

    systemd.services.hive = lib.mkIf (own != "") {
      environment.HIVE_NOTIFY_FILE = "%d/notify";
      serviceConfig = {
        LoadCredential = [ "notify:${own}" ];
        ExecStartPre = [ check ];
      };
    };

    assertions = [
      {
        assertion = misnamed == [ ];
        message = "services.hive.credentials has names that cannot be: ${options misnamed}; an agent's has a-z, 0-9 and '-', 11 characters at most; an id has letters, digits, '-' and '_', 64 at most.";
      }
      {
        assertion = inStore == [ ];
        message = "${options inStore} would be in the store, where every user and every agent can read it (so is what environment.etc makes of a text); give the path of a file that exists at run time, as a string: \"/run/secrets/NAME\" of sops-nix or config.age.secrets.NAME.path of agenix. If the secret was copied there already, change it.";
      }
      {
        assertion = misplaced == [ ];
        message = "${options misplaced}: the path has characters that cannot stand in a container's settings, or is in a place that hive's units do not see; use one such as \"/run/secrets/alice\".";
      }
      {
        assertion = given == [ ] || cfg.backend == "nixos";
        message = "services.hive.credentials needs backend = \"nixos\"; an agent of backend \"local\" has its credentials in its home, below ${toString cfg.stateDir}/agents.";
      }
      {
        assertion = byValue == [ ];
        message = "services.hive.settings are in the store, where every user can read them, and ${lib.concatStringsSep " and " byValue} may hold a secret; write the target of `notify` into a file and set `notify_file` to its path; for a flake's login use `access-tokens` or a netrc file of nix.";
      }
      {
        assertion = own == "" || (reachable own && !(stored own));
        message = "services.hive.settings.notify_file = \"${own}\" is in the store or in a place that hive's unit does not see; give the path of a file of root that exists at run time, such as \"/run/secrets/hive-notify\". The module loads it as a credential by itself.";
      }
    ];
  };
}

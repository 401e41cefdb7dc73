# services.hive.dashboard: the operator's web pages, which the daemon serves. The daemon checks the settings again
# (meta/binding.py), and goes on without the dashboard if they are not safe; here they are refused before the build.
{ config, lib, ... }:
let
  inherit (lib) mkOption mkEnableOption types;
  cfg = config.services.hive;
  dash = cfg.dashboard;
  inherit (import ./secret-paths.nix { inherit config lib; }) reachable stored;

  loopback = lib.hasPrefix "127." dash.address || dash.address == "::1" || dash.address == "localhost";
  files = builtins.filter (file: file != null) [
    dash.tls.certificate
    dash.tls.key
  ];
  hasTls = files != [ ];
  isHttps = dash.origin != null && lib.hasPrefix "https://" dash.origin;
  maybe =
    type: example: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit example description;
    };
in
{
  options.services.hive.dashboard = {
    enable = mkEnableOption "the dashboard, which the daemon serves on a port of this host";

    port = mkOption {
      type = types.port;
      default = 8420;
      description = "The port. `settings.dashboard_port` without `enable` works, too.";
    };

    address = mkOption {
      type = types.str;
      default = "127.0.0.1";
      example = "100.64.0.7";
      description = "The address. Another than loopback needs `tls`, or `behindProxy`, and an `origin`.";
    };

    origin = maybe (types.strMatching "https?://[^/?#@ ]+/?") "https://hive.example.org" ''
      The one origin by which browsers come: `https://NAME`, with a port or without, or `http://localhost:PORT`. Passkeys need a
      name, so it cannot be an address. null: localhost with the port, by https if there is a certificate.
    '';

    tls.certificate = maybe types.path "/var/lib/acme/hive.example.org/fullchain.pem" ''
      The file with the certificate and its chain. systemd hands it to the daemon when that starts: restart hive after a renewal.
    '';
    tls.key = maybe types.path "/var/lib/acme/hive.example.org/key.pem" ''
      The file with the key of the certificate, which root may read. It is never in the store.
    '';

    behindProxy = mkOption {
      type = types.bool;
      default = false;
      description = "A reverse proxy in front does TLS.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = "Let others reach the port through this host's firewall.";
    };
  };

  config = lib.mkIf (cfg.enable && dash.enable) {
    services.hive.settings = {
      dashboard_port = lib.mkDefault dash.port;
      dashboard_address = lib.mkDefault dash.address;
      dashboard_origin = lib.mkIf (dash.origin != null) (lib.mkDefault dash.origin);
      dashboard_behind_proxy = lib.mkIf dash.behindProxy (lib.mkDefault true);
    };

    systemd.services.hive = lib.mkIf hasTls {
      environment = {
        HIVE_DASHBOARD_TLS_CERT = "%d/dashboard-certificate";
        HIVE_DASHBOARD_TLS_KEY = "%d/dashboard-key";
      };
      serviceConfig.LoadCredential = [
        "dashboard-certificate:${toString dash.tls.certificate}"
        "dashboard-key:${toString dash.tls.key}"
      ];
    };

    networking.firewall.allowedTCPPorts = lib.mkIf dash.openFirewall [ dash.port ];

    assertions = [
      {
        assertion = dash.port >= 1024;
        message = "services.hive.dashboard.port = ${toString dash.port} is a port that only root may use, and hive's daemon has no capability; take one from 1024 on, and let a proxy such as services.caddy have ${toString dash.port}.";
      }
      {
        assertion = (dash.tls.certificate == null) == (dash.tls.key == null);
        message = "services.hive.dashboard.tls needs both, certificate and key.";
      }
      {
        assertion = loopback || hasTls || dash.behindProxy;
        message = "services.hive.dashboard.address = \"${dash.address}\" is reached by others, and nothing does TLS; set tls.certificate and tls.key, or behindProxy = true if a proxy does it, or keep \"127.0.0.1\".";
      }
      {
        assertion = dash.origin != null || loopback;
        message = "services.hive.dashboard.origin is missing: browsers of others come by a name; set it to the https://NAME of the dashboard.";
      }
      {
        assertion = !isHttps || hasTls || dash.behindProxy;
        message = "services.hive.dashboard.origin = \"${toString dash.origin}\" is https, and nothing does TLS; set tls.certificate and tls.key, or behindProxy = true if a proxy does it.";
      }
      {
        assertion = builtins.all (file: !(stored file) && reachable file) files;
        message = "services.hive.dashboard.tls has a file in the store or in a place that hive's unit does not see; give the paths of files of root that exist at run time, as strings, such as \"/var/lib/acme/NAME/key.pem\".";
      }
    ];
  };
}

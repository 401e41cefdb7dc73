# The options of NixOS that hive's modules and the agents of the tests set.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  option =
    type: default:
    mkOption {
      inherit type default;
    };
  flag = option types.bool false;
in
{
  options = {
    assertions = option (types.listOf types.unspecified) [ ];
    warnings = option (types.listOf types.str) [ ];

    nixpkgs.hostPlatform = option types.str "x86_64-linux";
    nixpkgs.flake.source = option (types.nullOr (types.either types.str types.path)) null;
    nixpkgs.config = option types.attrs { };
    nixpkgs.overlays = option (types.listOf types.unspecified) [ ];

    boot.isContainer = flag;
    boot.tmp.useTmpfs = flag;
    boot.enableContainers = option types.bool true;
    time.timeZone = option (types.nullOr types.str) null;
    documentation.enable = option types.bool true;
    i18n.defaultLocale = option types.str "en_US.UTF-8";

    networking = {
      hostName = option (types.strMatching "^$|^[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?$") "nixos";
      useDHCP = option types.bool true;
      useHostResolvConf = option types.bool true;
      firewall.enable = option types.bool true;
      firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
      firewall.allowedUDPPorts = option (types.listOf types.port) [ ];
    };

    nix.enable = option types.bool true;
    nix.package = option (types.nullOr types.package) null;
    nix.settings = option (types.attrsOf types.anything) { };

    programs.git.enable = flag;
    programs.git.config = option types.attrs { };
    services.openssh.enable = flag;
    services.nginx.enable = flag;
    security.sudo.enable = option types.bool true;
    security.polkit.enable = flag;
    security.pki.certificateFiles = option (types.listOf types.path) [ ];
    security.wrappers = option (types.attrsOf types.attrs) { };

    environment.systemPackages = option (types.listOf types.package) [ ];
    environment.variables = option (types.attrsOf (types.nullOr types.str)) { };
    environment.sessionVariables = option (types.attrsOf types.str) { };
    environment.etc = option (types.attrsOf (
      types.submodule (
        { name, ... }:
        {
          options = {
            enable = option types.bool true;
            text = option (types.nullOr types.lines) null;
            source = option (types.nullOr types.path) null;
            mode = option types.str "symlink";
            user = option types.str "+0";
            group = option types.str "+0";
            target = option types.str name;
            generated = flag; # from another option: see shape.nix
          };
        }
      )
    )) { };

    users.mutableUsers = option types.bool true;
    users.users = option (types.attrsOf (
      types.submodule (
        { name, ... }:
        {
          options = {
            name = option types.str name;
            isSystemUser = flag;
            isNormalUser = flag;
            uid = option (types.nullOr types.int) null;
            group = option types.str "";
            extraGroups = option (types.listOf types.str) [ ];
            home = option types.str "/var/empty";
            homeMode = option types.str "700";
            createHome = flag;
            description = option types.str "";
            shell = option (types.nullOr (types.either types.str types.package)) null;
            packages = option (types.listOf types.package) [ ];
            linger = flag;
            hashedPassword = option (types.nullOr types.str) null;
            initialPassword = option (types.nullOr types.str) null;
            openssh.authorizedKeys.keys = option (types.listOf types.str) [ ];
            openssh.authorizedKeys.keyFiles = option (types.listOf types.path) [ ];
          };
        }
      )
    )) { };
    users.groups = option (types.attrsOf (
      types.submodule {
        options = {
          gid = option (types.nullOr types.int) null;
          members = option (types.listOf types.str) [ ];
        };
      }
    )) { };

    virtualisation = option (types.attrsOf types.anything) { };
    containers = option (types.attrsOf types.anything) { };
  };
}

# The machine of every test: hive as an operator would enable it, and what an agent's system needs, without a network.
{ hive }:
{ pkgs, ... }:
let
  # a system like those that agents get, so that all it consists of is in the machine's store
  sample = pkgs.nixos {
    imports = [ ../templates/manager.nix ];
    networking.hostName = "sample";
    environment.variables.HIVE_LABEL = "sample";
  };
in
{
  imports = [ hive.nixosModules.default ];

  services.hive = {
    enable = true;
    operators = [ "ada" ];
    settings = {
      health_deadline = 120;
      crash_backoff = 1;
    };
  };
  users.users.ada = {
    isNormalUser = true;
    uid = 1000;
    # of hers alone: hive brings its own git, and the system has none
    packages = [ pkgs.git ];
  };
  users.users.bob = {
    isNormalUser = true;
    uid = 1001;
  };

  environment.etc."gitconfig".text = ''
    [user]
    	name = Ada
    	email = ada@example.org
    [safe]
    	directory = *
  '';
  nix.settings.experimental-features = [
    "nix-command"
    "flakes"
  ];
  nix.settings.substituters = [ ];
  virtualisation = {
    cores = 2;
    memorySize = 4096;
    diskSize = 8192;
    writableStore = true;
    additionalPaths = [
      sample.config.system.build.toplevel
    ]
    # What the builders of such a system read, so that another one can be built without a network. A drvPath would bring
    # all that these were built from in their turn, down to the compiler's own first stage.
    ++ map (one: one.inputDerivation) [
      sample.config.system.build.toplevel
      sample.config.system.path
    ];
  };
}

# Offers @name@ as a module to others. hive itself never evaluates this file, and refuses proposals that change it.
{
  outputs = { self }: {
    nixosModules.default = ./agent.nix;
  };
}

# The folder with the modules of services.hive.agentModules, each by its number, and a default.nix that imports them all.
# They are copied whole, because an evaluation of an agent sees nothing but its inputs.
{
  lib,
  pkgs,
  modules,
}:
let
  numbered = lib.imap1 (number: module: { inherit number module; }) modules;
  names = lib.concatMapStringsSep " " (one: "./${toString one.number}") numbered;
in
pkgs.runCommand "hive-agent-modules" { } ''
  mkdir $out
  ${lib.concatMapStrings (one: "cp -r ${one.module} $out/${toString one.number}\n") numbered}
  cp ${pkgs.writeText "default.nix" "{ imports = [ ${names} ]; }\n"} $out/default.nix
''

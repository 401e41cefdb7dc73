# The files that each part of hive is made from. What is in none of them (pages, tests, the flake itself) rebuilds nothing.
{ lib }:
let
  inherit (lib.fileset)
    difference
    fileFilter
    maybeMissing
    toSource
    unions
    ;
  root = ../..;
  package = fileFilter (file: !file.hasExt "pyc");
  source = files: toSource { inherit root; fileset = unions files; };

  harness = [
    ../../pyproject.toml
    ../../LICENSE
    (package ../../meta)
    (package ../../harness)
  ];
in
{
  # the daemon, the root helper and the command: the whole wheel
  hive = source (
    harness
    ++ [
      (package ../../reconciler)
      # assets.nix brings what a checkout has in vendor
      (difference (package ../../api) (maybeMissing ../../api/ui/vendor))
    ]
  );
  # the program in the containers
  harness = source harness;
  # what meta's flake has as its input `hyperhive`: all that an agent's system is evaluated from
  agents = source (
    harness
    ++ [
      ../templates
      (difference ../packages (unions [
        ../packages/assets.nix
        ../packages/hive.nix
      ]))
      ../modules/agent.nix
      ../modules/agent
    ]
  );
  # README.md, which the wheel would show, is a page like the others
  postPatch = "sed -i '/^readme = /d' pyproject.toml";
}

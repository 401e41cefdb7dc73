# The daemon, the root helper and the command line, with the Python environment they run in.
# An environment, not a wrapped script: hive starts `sys.executable` for its supervisors, and that must find hive.
{
  lib,
  python3,
  fetchPypi,
  fetchurl,
  runCommand,
  testers,
  # the tests in virtual machines, which are of the flake: nix/tests/
  vmTests ? { },
}:
let
  source = import ./source.nix { inherit lib; };
  chosen = import ./python.nix { inherit lib fetchPypi; } python3.pkgs;
  assets = import ./assets.nix { inherit fetchurl runCommand; };
  version = (builtins.fromTOML (builtins.readFile ../../pyproject.toml)).project.version;

  module = python3.pkgs.buildPythonPackage {
    pname = "hive";
    inherit version;
    pyproject = true;
    src = source.hive;
    postPatch = source.postPatch + "\ncp -r ${assets} api/ui/vendor";
    build-system = [ python3.pkgs.hatchling ];
    dependencies = builtins.attrValues chosen;
    pythonImportsCheck = [
      "meta"
      "reconciler.daemon.daemon"
      "reconciler.egress"
      "reconciler.privileged"
      "harness.cli"
      "api.cli.main"
    ];
  };
  environment = python3.withPackages (_: [ module ]);

  package = runCommand "hive-${version}" attributes script;
  attributes = {
    pname = "hive";
    inherit version;
    passthru = {
      inherit assets module environment;
      tests = vmTests // {
        version = testers.testVersion { inherit package; };
      };
    };
    meta = {
      description = "Keeps a swarm of coding agents, each in its own container, equal to what is written in git";
      license = lib.licenses.mit;
      maintainers = [ ];
      mainProgram = "hive";
      platforms = lib.platforms.linux;
    };
  };
  script = ''
    mkdir -p $out/bin
    for program in hive hive-egress hive-harness hive-privileged; do
      ln -s ${environment}/bin/$program $out/bin/$program
    done
    export HOME=$TMPDIR
    $out/bin/hive man --write $out/share/man/man1
    completion() { mkdir -p $out/share/$2; _HIVE_COMPLETE=source_$1 $out/bin/hive > $out/share/$2/$3; }
    completion bash bash-completion/completions hive
    completion zsh zsh/site-functions _hive
    completion fish fish/vendor_completions.d hive.fish
  '';
in
package

# The harness alone, for containers: without the daemon's dependencies and without the daemon.
{
  lib,
  python3,
  fetchPypi,
}:
let
  source = import ./source.nix { inherit lib; };
  chosen = import ./python.nix { inherit lib fetchPypi; } python3.pkgs;
  version = (builtins.fromTOML (builtins.readFile ../../pyproject.toml)).project.version;
in
python3.pkgs.buildPythonApplication {
  pname = "hive-harness";
  inherit version;
  pyproject = true;
  src = source.harness;
  inherit (source) postPatch;
  build-system = [ python3.pkgs.hatchling ];
  dependencies = [
    chosen.h11
    chosen.pydantic
  ];
  # the wheel asks for everything that the daemon needs
  dontCheckRuntimeDeps = true;
  postInstall = ''
    rm $out/bin/hive $out/bin/hive-privileged
  '';
  pythonImportsCheck = [ "harness.cli" ];
  meta = {
    description = "The program in the container of each agent of hive";
    license = lib.licenses.mit;
    maintainers = [ ];
    mainProgram = "hive-harness";
    platforms = lib.platforms.linux;
  };
}

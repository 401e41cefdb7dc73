# Just the files that the wheel is built from: a change of a test or a page rebuilds nothing.
let
  root = toString ../..;
  wanted = [
    "pyproject.toml"
    "README.md"
    "meta"
    "reconciler"
    "harness"
    "api"
  ];
  relative = path: builtins.substring (builtins.stringLength root + 1) (-1) (toString path);
  top = path: builtins.head (builtins.split "/" (relative path));
in
builtins.path {
  name = "hive-source";
  path = ../..;
  filter = path: _: builtins.elem (top path) wanted && baseNameOf path != "__pycache__";
}

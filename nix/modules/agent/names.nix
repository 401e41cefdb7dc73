# The names of agents, as in meta/names.py.
rec {
  reserved = [
    "hive"
    "host"
    "operator"
    "reminder"
    "system"
  ];
  formed = name: builtins.match "[a-z]([a-z0-9-]{0,9}[a-z0-9])?" name != null;
  valid = name: formed name && !builtins.elem name reserved;
}

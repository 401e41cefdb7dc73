# Settings as TOML, so that nothing has to be built to write it. null means: not there.
{ lib }:
let
  # Nix forgets the order of keys, and a rule does its actions in the file's order. This one makes sense for most:
  # what later texts speak of first, what ends the turn last. Give `hive.agent.file` where it matters.
  order = [
    "when"
    "from"
    "commit"
    "request"
    "answer"
    "ask"
    "remind"
    "send"
    "reply"
    "sleep"
    "crash"
  ];
  set = lib.filterAttrs (_: value: value != null);
  keys =
    table:
    let
      names = builtins.attrNames (set table);
    in
    builtins.filter (key: builtins.elem key names) order
    ++ builtins.filter (key: !builtins.elem key order) names;

  # JSON's escapes are also TOML's, but for a plain DEL
  text = value: builtins.replaceStrings [ (builtins.fromJSON ''"\u007f"'') ] [ "\\u007F" ] (builtins.toJSON value);
  value =
    given:
    if builtins.isAttrs given then
      "{ ${lib.concatMapStringsSep ", " (key: "${text key} = ${value given.${key}}") (keys given)} }"
    else if builtins.isList given then
      "[${lib.concatMapStringsSep ", " value given}]"
    else
      text given;
in
settings:
lib.concatMapStrings (key: "${key} = ${value settings.${key}}\n") (builtins.attrNames (set settings))

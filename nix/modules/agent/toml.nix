# Settings as TOML, written without a build. A null value is left out.
{ lib }:
let
  # Nix forgets the order of keys, but a rule does its actions in the file's order. This order suits most rules:
  # actions that later texts refer to come first, actions that end the turn last. For another order set `hive.agent.file`.
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

  # JSON's escapes are valid in TOML too, except for a plain DEL
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

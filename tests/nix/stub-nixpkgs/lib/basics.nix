# The plain helpers of nixpkgs' lib that hive's files use. Written from what they do, not from their source.
let
  inherit (builtins)
    attrNames
    concatMap
    concatStringsSep
    elem
    foldl'
    isAttrs
    isList
    length
    listToAttrs
    replaceStrings
    stringLength
    substring
    ;
in
rec {
  inherit (builtins)
    add
    all
    any
    attrNames
    attrValues
    concatMap
    concatLists
    concatStringsSep
    elem
    elemAt
    filter
    fromJSON
    functionArgs
    genList
    hasAttr
    head
    isAttrs
    isBool
    isInt
    isList
    isString
    length
    listToAttrs
    mapAttrs
    match
    readFile
    removeAttrs
    replaceStrings
    split
    stringLength
    substring
    tail
    toJSON
    ;
  inherit (builtins) foldl' pathExists;
  isFunction = value: builtins.isFunction value || (isAttrs value && value ? __functor);
  isDerivation = value: isAttrs value && value.type or "" == "derivation";
  id = value: value;
  const = value: _: value;
  pipe = foldl' (value: function: function value);
  flip =
    function: a: b:
    function b a;
  last = list: builtins.elemAt list (length list - 1);
  unique = foldl' (seen: one: if elem one seen then seen else seen ++ [ one ]) [ ];
  flatten = value: if isList value then concatMap flatten value else [ value ];
  imap1 = function: list: builtins.genList (i: function (i + 1) (builtins.elemAt list i)) (length list);
  range = first: end: builtins.genList (i: first + i) (end - first + 1);
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: list: if condition then list else [ ];
  optionalString = condition: text: if condition then text else "";
  optionalAttrs = condition: attrs: if condition then attrs else { };
  nameValuePair = name: value: { inherit name value; };
  mapAttrsToList = function: attrs: map (name: function name attrs.${name}) (attrNames attrs);
  mapAttrs' = function: attrs: listToAttrs (mapAttrsToList function attrs);
  concatMapAttrs = function: attrs: foldl' (all: one: all // one) { } (mapAttrsToList function attrs);
  filterAttrs =
    keep: attrs:
    listToAttrs (
      concatMap (name: optional (keep name attrs.${name}) (nameValuePair name attrs.${name})) (attrNames attrs)
    );
  genAttrs = names: function: listToAttrs (map (name: nameValuePair name (function name)) names);
  attrByPath =
    path: default: attrs:
    if path == [ ] then
      attrs
    else if isAttrs attrs && attrs ? ${builtins.head path} then
      attrByPath (builtins.tail path) default attrs.${builtins.head path}
    else
      default;
  hasAttrByPath =
    path: attrs:
    path == [ ] || (isAttrs attrs && attrs ? ${builtins.head path} && hasAttrByPath (builtins.tail path) attrs.${builtins.head path});
  setAttrByPath =
    path: value:
    if path == [ ] then value else { ${builtins.head path} = setAttrByPath (builtins.tail path) value; };
  recursiveUpdate =
    a: b:
    a
    // builtins.mapAttrs (
      name: value:
      if isAttrs value && a ? ${name} && isAttrs a.${name} && !(isDerivation value) then
        recursiveUpdate a.${name} value
      else
        value
    ) b;
  concatMapStringsSep =
    separator: function: list:
    concatStringsSep separator (map function list);
  concatMapStrings = concatMapStringsSep "";
  concatStrings = concatStringsSep "";
  concatLines = list: concatStringsSep "\n" list + "\n";
  hasPrefix = prefix: text: substring 0 (stringLength prefix) text == prefix;
  hasSuffix =
    suffix: text:
    let
      start = stringLength text - stringLength suffix;
    in
    start >= 0 && substring start (stringLength suffix) text == suffix;
  hasInfix = part: text: length (builtins.split (escapeRegex part) text) > 1;
  removePrefix =
    prefix: text: if hasPrefix prefix text then substring (stringLength prefix) (stringLength text) text else text;
  removeSuffix =
    suffix: text: if hasSuffix suffix text then substring 0 (stringLength text - stringLength suffix) text else text;
  splitString = separator: text: builtins.filter builtins.isString (builtins.split (escapeRegex separator) text);
  toUpper = replaceStrings (characters lower) (characters upper);
  toLower = replaceStrings (characters upper) (characters lower);
  boolToString = value: if value then "true" else "false";
  fileContents = path: removeSuffix "\n" (builtins.readFile path);
  escapeRegex = escape (characters "\\[{()^$?*+|.");
  escape = special: replaceStrings special (map (one: "\\${one}") special);
  escapeShellArg =
    value:
    if builtins.match "[[:alnum:],._+:@%/-]+" (toString value) != null then
      toString value
    else
      "'" + replaceStrings [ "'" ] [ "'\\''" ] (toString value) + "'";
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  makeBinPath = concatMapStringsSep ":" (package: "${package}/bin");
  getExe' = package: name: "${package}/bin/${name}";
  getExe = package: getExe' package (package.meta.mainProgram or package.pname or package.name);
  warn = text: value: builtins.trace "warning: ${text}" value;
  showWarnings = texts: value: foldl' (all: text: warn text all) value texts;
  versionAtLeast = version: least: builtins.compareVersions version least >= 0;
  generators.toJSON = _: builtins.toJSON;
  generators.toINI =
    _: sections:
    concatStringsSep "\n" (
      mapAttrsToList (
        name: values:
        "[${name}]\n" + concatStringsSep "" (mapAttrsToList (key: value: "${key}=${toString value}\n") values)
      ) sections
    );
  licenses = {
    mit = {
      spdxId = "MIT";
      free = true;
    };
    unfree = {
      free = false;
    };
  };
  platforms.linux = [
    "x86_64-linux"
    "aarch64-linux"
  ];
  fakeHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  maintainers = { };
  version = "stub";
  trivial.release = "25.11";

  lower = "abcdefghijklmnopqrstuvwxyz";
  upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  characters = text: builtins.genList (i: substring i 1 text) (stringLength text);
}

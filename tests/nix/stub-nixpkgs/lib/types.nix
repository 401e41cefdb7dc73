# Option types: what a value must look like, and how several definitions become one.
# `merge` takes the option's path and a non-empty list of { file, value }.
{
  basics,
  properties,
  evalModules,
}:
let
  inherit (builtins)
    attrNames
    concatMap
    filter
    foldl'
    head
    isAttrs
    isInt
    isString
    length
    match
    toJSON
    ;
  inherit (basics) isDerivation isFunction;
  inherit (properties) discharge pushDown winners;

  show =
    value:
    if isFunction value then
      "<function>"
    else if isDerivation value then
      "<derivation>"
    else
      let
        text = builtins.tryEval (toJSON value);
      in
      if text.success then text.value else "<?>";

  path = builtins.concatStringsSep ".";

  wrong =
    loc: type: found:
    throw "A definition for option `${path loc}' is not of type `${type.description}'. Definition values:\n- In `${found.file}': ${show found.value}";

  one =
    loc: found:
    if builtins.length found == 1 || builtins.all (other: other.value == (head found).value) found then
      (head found).value
    else
      throw "The option `${path loc}' has conflicting definition values:\n${
        basics.concatMapStringsSep "\n" (d: "- In `${d.file}': ${show d.value}") found
      }";

  type =
    description: check:
    {
      _type = "option-type";
      inherit description check;
      merge = one;
      getSubOptions = _: { };
    };

  # `found` of one option or of one element, discharged and checked.
  element =
    loc: of: found:
    let
      won = winners (concatMap (d: map (v: v // { inherit (d) file; }) (discharge d.value)) found);
      bad = filter (d: !(of.check d.value)) won;
    in
    if bad != [ ] then wrong loc of (head bad) else of.merge loc won;
in
rec {
  inherit show wrong;

  types = rec {
    unspecified = type "unspecified value" (_: true);
    raw = type "raw value" (_: true);
    anything = type "anything" (_: true) // {
      merge =
        loc: found:
        if builtins.all (d: isAttrs d.value) found then
          foldl' (all: d: basics.recursiveUpdate all d.value) { } found
        else
          one loc found;
    };
    bool = type "boolean" builtins.isBool;
    int = type "signed integer" isInt;
    float = type "floating point number" builtins.isFloat;
    number = type "signed integer or floating point number" (x: isInt x || builtins.isFloat x);
    ints = {
      positive = type "positive integer, meaning >0" (x: isInt x && x > 0);
      unsigned = type "unsigned integer, meaning >=0" (x: isInt x && x >= 0);
      between =
        low: high:
        type "integer between ${toString low} and ${toString high} (both inclusive)" (
          x: isInt x && x >= low && x <= high
        );
    };
    numbers = {
      positive = type "positive integer or floating point number, meaning >0" (x: number.check x && x > 0);
      nonnegative = type "nonnegative integer or floating point number, meaning >=0" (x: number.check x && x >= 0);
      between =
        low: high:
        type "integer or floating point number between ${toString low} and ${toString high} (both inclusive)" (
          x: number.check x && x >= low && x <= high
        );
    };
    port = type "16 bit unsigned integer; between 0 and 65535 (both inclusive)" (
      x: isInt x && x >= 0 && x <= 65535
    );
    str = type "string" isString;
    singleLineStr = type "(optionally newline-terminated) single-line string" (
      x: isString x && match "[^\n]*\n?" x != null
    );
    nonEmptyStr = type "non-empty string" (x: isString x && match "[ \t\n]*" x == null);
    strMatching = pattern: type "string matching the pattern ${pattern}" (x: isString x && match pattern x != null);
    separatedString =
      separator:
      str
      // {
        merge = _: found: basics.concatMapStringsSep separator (d: d.value) found;
      };
    lines = separatedString "\n" // {
      description = "strings concatenated with \"\\n\"";
    };
    enum = values: type "one of ${builtins.concatStringsSep ", " (map toJSON values)}" (x: builtins.elem x values);
    path = type "absolute path" (
      x: isDerivation x || builtins.isPath x || (isString x && match "/.*" x != null)
    );
    package = type "package" (x: isDerivation x || (isString x && match "/.*/store/.*" x != null));
    attrs = type "attribute set" isAttrs // {
      merge = _: found: foldl' (all: d: all // d.value) { } found;
    };
    functionTo = of: type "function that evaluates to a(n) ${of.description}" isFunction;

    nullOr = of: {
      _type = "option-type";
      description = "null or ${of.description}";
      check = x: x == null || of.check x;
      getSubOptions = of.getSubOptions or (_: { });
      subPath = of.subPath or [ ];
      merge =
        loc: found:
        let
          set = filter (d: d.value != null) found;
        in
        if set == [ ] then
          null
        else if length set < length found then
          one loc found
        else
          of.merge loc set;
    };

    either = a: b: {
      _type = "option-type";
      description = "${a.description} or ${b.description}";
      check = x: a.check x || b.check x;
      getSubOptions = _: { };
      merge =
        loc: found:
        if builtins.all (d: a.check d.value) found then
          a.merge loc found
        else if builtins.all (d: b.check d.value) found then
          b.merge loc found
        else
          one loc found;
    };
    oneOf = all: foldl' either (head all) (builtins.tail all);

    coercedTo =
      from: convert: to:
      to
      // {
        description = "${to.description} or ${from.description} convertible to it";
        check = x: from.check x || to.check x;
        merge =
          loc: found:
          to.merge loc (map (d: d // { value = if from.check d.value then convert d.value else d.value; }) found);
      };

    listOf = of: {
      _type = "option-type";
      description = "list of ${of.description}";
      emptyValue = [ ];
      check = builtins.isList;
      getSubOptions = of.getSubOptions or (_: { });
      subPath = [ "*" ] ++ of.subPath or [ ];
      merge =
        loc: found:
        concatMap (
          d:
          builtins.concatLists (
            basics.imap1 (
              i: value:
              let
                given = discharge value;
              in
              if given == [ ] then
                [ ]
              else
                [ (element (loc ++ [ "[definition 1-entry ${toString i}]" ]) of [ (d // { inherit value; }) ]) ]
            ) d.value
          )
        ) found;
    };
    addCheck = of: check: of // { check = x: of.check x && check x; };
    nonEmptyListOf =
      of:
      builtins.removeAttrs (listOf of) [ "emptyValue" ]
      // {
        description = "non-empty list of ${of.description}";
        check = x: builtins.isList x && x != [ ];
      };

    attrsOf = of: {
      _type = "option-type";
      description = "attribute set of ${of.description}";
      emptyValue = { };
      check = isAttrs;
      getSubOptions = of.getSubOptions or (_: { });
      subPath = [ "<name>" ] ++ of.subPath or [ ];
      merge =
        loc: found:
        let
          parts = concatMap (d: map (value: d // { inherit value; }) (pushDown d.value)) found;
          given =
            name: concatMap (d: if d.value ? ${name} then [ (d // { value = d.value.${name}; }) ] else [ ]) parts;
          there = name: concatMap (d: discharge d.value) (given name) != [ ];
          names = filter there (attrNames (foldl' (all: d: all // d.value) { } parts));
        in
        basics.genAttrs names (name: element (loc ++ [ name ]) of (given name));
    };
    lazyAttrsOf = attrsOf;

    submoduleWith =
      {
        modules,
        specialArgs ? { },
        ...
      }:
      {
        _type = "option-type";
        description = "submodule";
        emptyValue = { };
        check = x: isAttrs x || isFunction x || builtins.isPath x;
        getSubOptions =
          prefix:
          (evalModules {
            inherit modules prefix;
            specialArgs = specialArgs // {
              name = "<name>";
            };
          }).options;
        merge =
          loc: found:
          builtins.removeAttrs
            (evalModules {
              prefix = loc;
              specialArgs = specialArgs // {
                name = basics.last loc;
              };
              modules =
                modules
                ++ map (
                  d:
                  if isAttrs d.value then
                    {
                      _file = d.file;
                      config = d.value;
                    }
                  else
                    d.value
                ) found;
            }).config
            [ "_module" ];
      };
    submodule = module: submoduleWith { modules = if builtins.isList module then module else [ module ]; };
  };
}

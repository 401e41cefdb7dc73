# evalModules: load modules, gather what they declare and define, merge.
{
  basics,
  properties,
  lib,
  typeTools,
}:
let
  inherit (builtins)
    attrNames
    concatLists
    concatMap
    elem
    filter
    foldl'
    head
    isAttrs
    isPath
    isString
    mapAttrs
    removeAttrs
    ;
  inherit (properties) discharge pushDown tagged winners;
  inherit (typeTools) types wrong;
  isOption = tagged "option";
  show = builtins.concatStringsSep ".";
  known = [
    "imports"
    "options"
    "config"
    "_file"
    "key"
    "meta"
  ];

  # A module with everything it imports: a list of { file, options, config }.
  load =
    args: key: module:
    let
      isFile = isPath module || isString module;
      file = if isFile then toString module else found._file or key;
      given = if isFile then import module else module;
      found = if basics.isFunction given then call args given else given;
      structured = found ? config || found ? options;
      unknown = filter (name: !(elem name known)) (attrNames found);
      self =
        if structured && unknown != [ ] then
          throw "Module `${file}' has an unsupported attribute `${head unknown}'. This is caused by introducing a top-level `config' or `options' attribute."
        else
          {
            inherit file;
            options = found.options or { };
            config =
              if structured then
                found.config or { }
              else
                removeAttrs found [
                  "imports"
                  "_file"
                  "key"
                  "meta"
                ];
          };
    in
    concatLists (map (load args "${file}:anon") (found.imports or [ ])) ++ [ self ];

  call =
    args: function:
    let
      wanted = builtins.functionArgs function;
      missing = filter (name: !(args ? ${name}) && !wanted.${name}) (attrNames wanted);
    in
    if missing != [ ] then
      # as nixpkgs does it: such an argument may come from _module.args, which is not known before
      function (args // basics.genAttrs missing (name: args.config._module.args.${name}))
    else
      function (if wanted == { } then args else builtins.intersectAttrs wanted args);

  declare =
    loc: a: b:
    if isOption a || isOption b then
      throw "The option `${show loc}' is already declared."
    else
      a
      // mapAttrs (name: value: if a ? ${name} then declare (loc ++ [ name ]) a.${name} value else value) b;

  mergeOption =
    loc: option: found:
    let
      type = option.type or types.unspecified;
      default =
        if option ? default then
          map (d: d // { file = "default"; }) (discharge (properties.mkOptionDefault option.default))
        else
          [ ];
      won = winners (
        concatMap (d: map (v: v // { inherit (d) file; }) (discharge d.value)) found ++ default
      );
      bad = filter (d: !(type.check d.value)) won;
      value =
        if won == [ ] then
          type.emptyValue or (throw "The option `${show loc}' was accessed but has no value defined. Try setting the option.")
        else if bad != [ ] then
          wrong loc type (head bad)
        else
          type.merge loc won;
    in
    (option.apply or (x: x)) value;

  below = name: d: map (value: d // { inherit value; }) (pushDown d.value.${name});

  build =
    loc: options: found:
    if isOption options then
      mergeOption loc options found
    else
      mapAttrs (
        name: option:
        build (loc ++ [ name ]) option (
          concatMap (
            d:
            if !(d.value ? ${name}) then
              [ ]
            else if isOption option then
              [ (d // { value = d.value.${name}; }) ]
            else
              below name d
          ) found
        )
      ) options;

  undeclared =
    loc: options: found:
    concatMap (
      d:
      concatMap (
        name:
        let
          at = loc ++ [ name ];
        in
        if !(options ? ${name}) then
          (
            if discharge d.value.${name} == [ ] then
              [ ]
            else
              [ "The option `${show at}' does not exist. Definition values:\n- In `${d.file}'" ]
          )
        else if isOption options.${name} then
          [ ]
        else
          undeclared at options.${name} (below name d)
      ) (attrNames d.value)
    ) found;

  internal.options._module.args = lib.mkOption {
    type = types.attrsOf types.raw;
    default = { };
    internal = true;
  };
in
{
  evalModules =
    {
      modules,
      specialArgs ? { },
      prefix ? [ ],
      check ? true,
      ...
    }:
    let
      # modules see what is not checked yet: whether a definition is known may follow from the value of another
      args = {
        inherit lib options;
        config = built;
        pkgs = built._module.args.pkgs or (throw "this evaluation has no pkgs");
      }
      // specialArgs;
      loaded = concatLists (map (load args "<unknown-file>") ([ internal ] ++ modules));
      options = foldl' (all: one: declare prefix all one.options) { } loaded;
      found = concatMap (
        one:
        map (value: {
          inherit (one) file;
          inherit value;
        }) (pushDown one.config)
      ) loaded;
      built = build prefix options found;
      errors = undeclared prefix options found;
      config = if check && errors != [ ] then throw (head errors) else built;
    in
    {
      inherit options config;
    };
}

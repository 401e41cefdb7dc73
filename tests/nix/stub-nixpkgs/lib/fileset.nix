# lib.fileset: sets of files, held as { absolute path = type; }. Written from what the functions do.
{ basics }:
let
  inherit (builtins)
    foldl'
    isAttrs
    readDir
    removeAttrs
    ;
  inherit (basics) attrNames hasPrefix;

  files =
    directory:
    foldl' (all: one: all // one) { } (
      map (
        name:
        let
          kind = (readDir directory).${name};
          path = directory + "/${name}";
        in
        if kind == "directory" then files path else { ${toString path} = kind; }
      ) (attrNames (readDir directory))
    );

  # a set of files is what the functions give, or a path: a file, or all below a directory
  members =
    given:
    if isAttrs given && given._type or "" == "fileset" then
      given.members
    else if !builtins.pathExists given then
      throw "lib.fileset: a file set has ${toString given}, and there is no such path"
    else if (readDir (dirOf given)).${baseNameOf (toString given)} or "directory" == "directory" then
      files given
    else
      { ${toString given} = "regular"; };
  set = members: {
    _type = "fileset";
    inherit members;
  };
in
{
  unions = sets: set (foldl' (all: one: all // members one) { } sets);
  union = a: b: set (members a // members b);
  difference = a: b: set (removeAttrs (members a) (attrNames (members b)));
  intersection = a: b: set (builtins.intersectAttrs (members a) (members b));
  maybeMissing = path: set (if builtins.pathExists path then members path else { });
  fileFilter =
    predicate: path:
    set (
      basics.filterAttrs (
        file: type:
        let
          name = baseNameOf file;
        in
        predicate {
          inherit name type;
          hasExt = extension: basics.hasSuffix ".${extension}" name;
        }
      ) (members path)
    );
  toList = given: attrNames (members given);
  toSource =
    { root, fileset }:
    let
      wanted = members fileset;
      all = attrNames wanted;
      above = path: if path == toString root then { } else { ${path} = true; } // above (dirOf path);
      directories = foldl' (known: file: if known ? ${dirOf file} then known else known // above (dirOf file)) { } all;
      outside = builtins.filter (file: !(hasPrefix "${toString root}/" file)) all;
    in
    if outside != [ ] then
      throw "lib.fileset.toSource: ${builtins.head outside} is not below ${toString root}"
    else
      {
        outPath = builtins.path {
          name = "source";
          path = root;
          filter = path: type: (if type == "directory" then directories else wanted) ? ${toString path};
        };
        origSrc = root;
      };
}

# A small module evaluator with the call shapes of nixpkgs' lib, written from scratch for tests.
# Not there: freeformType, disabledModules, types that merge across declarations, renamed options.
let
  basics = import ./basics.nix;
  properties = import ./properties.nix;
  typeTools = import ./types.nix {
    inherit basics properties;
    inherit (modules) evalModules;
  };
  modules = import ./modules.nix {
    inherit
      basics
      properties
      lib
      typeTools
      ;
  };
  docs = import ./docs.nix { inherit basics properties; };
  lib =
    basics
    // builtins.removeAttrs properties [
      "tagged"
      "pushDown"
      "discharge"
      "winners"
    ]
    // modules
    // docs
    // {
      inherit (typeTools) types;
      fileset = import ./fileset.nix { inherit basics; };
      mkOption = option: option // { _type = "option"; };
      mkEnableOption =
        name:
        lib.mkOption {
          type = lib.types.bool;
          default = false;
          example = true;
          description = "Whether to enable ${name}.";
        };
      mkPackageOption =
        pkgs: name:
        {
          pkgsText ? "pkgs",
          extraDescription ? "",
          ...
        }:
        lib.mkOption {
          type = lib.types.package;
          default = pkgs.${name};
          defaultText = lib.literalExpression "${pkgsText}.${name}";
          description = "The ${name} package to use." + (if extraDescription == "" then "" else " ${extraDescription}");
        };
      literalExpression = text: {
        _type = "literalExpression";
        inherit text;
      };
      showOption = builtins.concatStringsSep ".";
    };
in
lib

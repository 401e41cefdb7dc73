# The options of an evaluation as data, for the page that documents them.
{ basics, properties }:
let
  isOption = properties.tagged "option";
  text = value: if builtins.isAttrs value && value ? text then value.text else builtins.toJSON value;
in
rec {
  # { name, type, default, example, description } of each option that is not internal, in the order of their names.
  optionsDoc =
    prefix: options:
    builtins.concatLists (
      basics.mapAttrsToList (
        name: option:
        let
          loc = prefix ++ [ name ];
        in
        if !(isOption option) then
          optionsDoc loc option
        else if option.internal or false || !(option.visible or true) then
          [ ]
        else
          [
            {
              name = builtins.concatStringsSep "." loc;
              type = option.type.description or "unspecified value";
              default =
                if option ? defaultText then
                  text option.defaultText
                else if option ? default then
                  text option.default
                else
                  null;
              example = if option ? example then text option.example else null;
              description = option.description or null;
            }
          ]
          ++ optionsDoc (loc ++ option.type.subPath or [ ]) (builtins.removeAttrs ((option.type.getSubOptions or (_: { })) loc) [ "_module" ])
      ) (builtins.removeAttrs options [ "_module" ])
    );
}

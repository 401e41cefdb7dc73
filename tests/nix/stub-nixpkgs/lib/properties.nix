# mkIf, mkMerge, mkOverride, mkOrder: how they are written down and how they are resolved.
let
  inherit (builtins)
    concatMap
    isAttrs
    mapAttrs
    ;
  tagged = tag: value: isAttrs value && value._type or "" == tag;
in
rec {
  inherit tagged;

  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };
  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkOrder = priority: content: {
    _type = "order";
    inherit priority content;
  };
  mkVMOverride = mkOverride 10;
  mkForce = mkOverride 50;
  mkDefault = mkOverride 1000;
  mkOptionDefault = mkOverride 1500;
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;

  # A tree of definitions, with its properties moved one level down: a list of plain attribute sets.
  pushDown =
    tree:
    if tagged "merge" tree then
      concatMap pushDown tree.contents
    else if tagged "if" tree then
      map (mapAttrs (_: mkIf tree.condition)) (pushDown tree.content)
    else if tagged "override" tree then
      map (mapAttrs (_: mkOverride tree.priority)) (pushDown tree.content)
    else
      [ tree ];

  # One definition of one option: a list of { priority, order, value }.
  discharge =
    value:
    if tagged "merge" value then
      concatMap discharge value.contents
    else if tagged "if" value then
      (if value.condition then discharge value.content else [ ])
    else if tagged "override" value then
      map (found: found // { inherit (value) priority; }) (discharge value.content)
    else if tagged "order" value then
      map (found: found // { order = value.priority; }) (discharge value.content)
    else
      [
        {
          priority = 100;
          order = 1000;
          inherit value;
        }
      ];

  # Those that win: the lowest priority, in order.
  winners =
    found:
    let
      best = builtins.foldl' (least: one: if one.priority < least then one.priority else least) 9999 found;
    in
    builtins.sort (a: b: a.order < b.order) (builtins.filter (one: one.priority == best) found);
}

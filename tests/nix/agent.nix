# The module of the container: { systems, asserted, options, files } for the files of agent.toml in the JSON `files`.
{ files }:
let
  lib = import ./stub-nixpkgs/lib;
  pkgsFor = system: import ./stub-nixpkgs/pkgs.nix { inherit lib system; };
  system =
    name: modules:
    (import ./stub-nixpkgs/nixos { inherit lib pkgsFor; } {
      system = "x86_64-linux";
      modules = [ { networking.hostName = name; } ] ++ modules;
    }).config;
  agent = ../../nix/templates/agent-base.nix;
  manager = ../../nix/templates/manager.nix;

  # what nixpkgs does with a licence that is not allowed
  unfree.nixpkgs.overlays = [
    (_: before: { claude-code = before.claude-code // { outPath = throw "unfree"; }; })
  ];

  contents = file: if file.text != null then file.text else builtins.readFile file.source;

  view = config: {
    unit = config.systemd.stub.units."hive-harness.service" or null;
    starter = {
      socket = config.systemd.stub.units."hive-cli.socket" or null;
      unit = config.systemd.stub.units."hive-cli@.service" or null;
      harness = config.users.users.hive-harness or null;
      group = config.users.groups.hive-cli or null;
    };
    wanted = config.systemd.services.hive-harness.wantedBy;
    tmpfiles = config.systemd.tmpfiles.rules;
    toml = contents config.environment.etc."hive/agent.toml";
    source = config.environment.etc."hive/agent.toml".source;
    user = config.users.users.agent or null;
    journald = config.environment.etc."systemd/journald.conf.d/hive.conf".text;
    credentials = config.environment.etc."hive/credentials.json".text or null;
    git = config.programs.git.config;
    nix = {
      inherit (config.nix) enable settings;
      unit = config.systemd.stub.units."hive-own-nix.service" or null;
      before = config.systemd.services.hive-own-nix.requiredBy or [ ];
    };
    slim = {
      sudo = config.security.sudo.enable;
      wrappers = config.security.enableWrappers;
      journal = config.services.journald.storage;
      nspawn = config.boot.isNspawnContainer;
      packages = config.environment.counted;
    };
    container = config.boot.isContainer;
    built = config.system.build.toplevel.name;
    failed = failed config;
  };
  # NixOS' own assertions read all users, so a clash there comes before any message
  failed =
    config:
    builtins.deepSeq config.users.users (
      map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions)
    );

  settings = file: (system "alice" [
    agent
    { hive.agent.settings = builtins.fromTOML file; }
  ]).environment.etc."hive/agent.toml".text;
  tried =
    value:
    let
      got = builtins.tryEval (builtins.deepSeq value value);
    in
    if got.success then got.value else null;
in
{
  systems = {
    alice = view (system "alice" [ agent ]);
    manager = view (system "manager" [ manager ]);
    seeded = view (system "alice" [ agent ../../meta/templates/agent/agent.nix ]);
    boss = view (system "manager" [ manager ../../meta/templates/manager/agent.nix ]);
    filed = view (
      system "alice" [
        agent
        { hive.agent.file = ../../meta/templates/agent/agent.toml; }
      ]
    );
    repeated = view (
      system "alice" [
        agent
        {
          hive.agent.file = ../../meta/templates/agent/agent.toml;
          hive.agent.settings.label = "@name@";
        }
      ]
    );
    full = view (
      system "alice" [
        ../../nix/modules/agent.nix
        { boot.isContainer = true; }
      ]
    );
    brought = view (
      system "alice" [
        agent
        {
          services.journald.storage = "persistent";
          programs.nano.enable = true;
        }
      ]
    );
    builder = view (
      system "alice" [
        agent
        { hive.agent.nix.enable = true; }
      ]
    );
    keeper = view (
      system "alice" [
        agent
        { hive.agent.credentials = [ "github-token" "npm_token" ]; }
      ]
    );
    coding = view (
      system "alice" [
        agent
        {
          hive.agent.settings.runtime = "claude";
          hive.agent.credentials = [ "github-token" ];
        }
      ]
    );
    scoped = view (
      system "alice" [
        agent
        {
          hive.agent.settings.runtime = "claude";
          hive.agent.settings.scope = {
            allow = [ { target = "/state"; permission = "write"; } ];
            deny = [
              { target = "/state/work/a/b"; permission = "write"; }
              { target = "/state/work/a/b/c/d"; permission = "read"; }
              { target = "/state/secret"; permission = "read"; }
              { target = "/state/near"; permission = "read"; recursive = false; }
              { target = "/state/with space"; permission = "read"; }
              { target = "relative"; permission = "read"; }
            ];
          };
        }
      ]
    );
    leading = view (system "manager" [ manager { hive.agent.settings.runtime = "claude"; } ]);
    own = view (
      system "alice" [
        agent
        unfree
        {
          hive.agent.settings.runtime = "claude";
          hive.agent.settings.command = [ "/opt/claude" ];
        }
      ]
    );
    equipped = view (
      system "alice" [
        agent
        (
          { pkgs, ... }:
          {
            hive.agent = {
              uid = 1500;
              packages = [ pkgs.ripgrep ];
              cli.package = pkgs.hello;
              settings.runtime = "claude";
              environment.EDITOR = "true";
            };
          }
        )
      ]
    );
  };

  # a NixOS container without hive
  bare = (system "alice" [ { boot.isContainer = true; } ]).environment.counted;

  asserted = {
    noRuntime = failed (
      system "alice" [
        agent
        {
          hive.agent.settings.runtime = "claude";
          hive.agent.runtimes = [ "script" ];
        }
      ]
    );
    withoutCli = failed (system "alice" [ agent unfree { hive.agent.settings.runtime = "claude"; } ]);
    idleCommand = failed (system "alice" [ agent { hive.agent.settings.command = [ "x" ]; } ]);
    managersUid = failed (system "manager" [ manager { hive.agent.uid = 1500; } ]);
    asRoot = failed (system "alice" [ agent { hive.agent.user = "root"; users.users.root = { uid = 0; home = "/root"; group = "root"; }; } ]);
    onHost = failed (system "alice" [ agent { boot.isContainer = false; } ]);
    asHarness = failed (system "alice" [ agent { hive.agent.user = "hive-harness"; } ]);
    hostsNix = failed (system "alice" [ agent { nix.enable = true; } ]);
    besideFile = failed (
      system "alice" [
        agent
        {
          hive.agent.file = ../../meta/templates/agent/agent.toml;
          hive.agent.settings.limits.max_turns = 7;
          hive.agent.settings.label = "not the file's";
        }
      ]
    );
    oldNixpkgs = failed (
      (import ./stub-nixpkgs/nixos { inherit lib pkgsFor; } {
        system = "x86_64-linux";
        specialArgs.lib = lib // { trivial.release = "25.05"; };
        modules = [ { networking.hostName = "alice"; } agent ];
      }).config
    );
    otherIdentity = failed (
      system "alice" [
        agent
        {
          hive.agent.environment = {
            HIVE_AGENT = "bob";
            HOME = "/agents";
            HIVE_LABEL = "Alice";
          };
        }
      ]
    );
    longName = failed (system "much-too-long" [ agent ]);
  };

  withoutCommand = failed (system "alice" [ agent { hive.agent.settings.runtime = "acp"; } ]);
  olderNixpkgs = failed (
    system "alice" [
      agent
      {
        _module.args.pkgs = builtins.removeAttrs (pkgsFor "x86_64-linux") [ "codex-acp" ];
        hive.agent.settings.runtime = "codex";
      }
    ]
  );

  reserved = failed (system "operator" [ agent ]);

  options = lib.optionsDoc [ ] (lib.evalModules {
    specialArgs.pkgs = pkgsFor "x86_64-linux";
    modules = [ ../../nix/modules/agent.nix ];
    check = false;
  }).options.hive.agent.settings;

  files = map (file: tried (settings file)) (builtins.fromJSON files);
}

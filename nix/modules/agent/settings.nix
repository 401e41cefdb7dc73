# hive.agent.settings: agent.toml as options. Mirrors meta/agent_toml/settings.py; a test gives the same files to both.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  cfg = config.hive.agent;
  inFile = if cfg.file == null then { } else builtins.fromTOML (builtins.readFile cfg.file);
  # what the file alone makes of the settings
  ofFile =
    (lib.evalModules {
      modules = [
        { options.settings = settings; }
        { config.settings = inFile; }
      ];
    }).config.settings;
  besides = builtins.filter (key: cfg.settings.${key} != ofFile.${key}) (builtins.attrNames settings);
  # what only a runtime with a model has a use for
  unread =
    lib.optional (cfg.settings.model != null) "model"
    ++ lib.optional (cfg.settings.prompt != null) "prompt"
    ++ lib.optional (cfg.settings.mcp_servers != { }) "mcp_servers"
    ++ lib.optional (cfg.settings.env != { }) "env"
    ++ lib.optional (cfg.settings.permissions.allow != [ ]) "permissions.allow"
    ++ lib.optional (cfg.settings.permissions.deny != [ ]) "permissions.deny"
    ++ lib.optional (cfg.settings.scope != null) "scope"
    ++ lib.optional (cfg.settings.limits.max_turns != null) "limits.max_turns";
  toml = import ./toml.nix { inherit lib; };

  option =
    type: default: description:
    mkOption { inherit type default description; };
  maybe = type: description: option (types.nullOr type) null description;
  required = type: description: mkOption { inherit type description; };
  table = options: types.submodule { inherit options; };

  short = types.addCheck types.str (text: builtins.stringLength text <= 500);
  model = types.addCheck types.str (
    name: builtins.match "[A-Za-z0-9][!-~]*" name != null && builtins.stringLength name <= 200
  );
  seconds = most: types.numbers.between 0 most;
  moreThanNone = type: types.addCheck type (value: value > 0);
  exitCode = types.ints.between 0 255;

  # the form of a name; hive itself checks the rest (length, reserved words)
  recipient = types.strMatching "[*]|[a-z]([a-z0-9-]{0,9}[a-z0-9])?" // {
    description = "name of an agent, `operator`, or `*`";
  };
  reserved = [
    "system"
    "reminder"
    "host"
    "hive"
  ];
  command = types.nonEmptyListOf types.str;
  # the names of meta/agent_toml/values.py; what their values may be hive itself checks
  secret = "(.*_)?(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY)|.+_(KEY|PAT)";
  ours = "HIVE_.*|HYPERHIVE_.*|LD_.*|PATH|HOME|CREDENTIALS_DIRECTORY";
  isVariable =
    name:
    builtins.match "[A-Za-z_][A-Za-z0-9_]{0,127}" name != null
    && builtins.match ours name == null
    && builtins.match secret (lib.toUpper name) == null;
  variables = types.addCheck (types.attrsOf types.str) (
    given: builtins.all isVariable (builtins.attrNames given)
  );
  rules = types.listOf (
    types.addCheck types.str (rule: rule != "" && builtins.stringLength rule <= 500)
  );
  # the forms of meta/agent_toml/network.py, scope.py and workspace.py
  reachable = types.strMatching (import ./rule-form.nix).entry // {
    description = "host, host:port, *.host or @group";
  };
  cloned =
    let
      host = "([A-Za-z0-9_][A-Za-z0-9._-]*|\\[[0-9A-Fa-f:.]+])";
      port = "(:[1-9][0-9]{0,4})?";
      user = "[A-Za-z0-9_][A-Za-z0-9._-]*@";
      path = "[A-Za-z0-9._~%+@=,/-]+";
    in
    types.strMatching "https://${host}${port}/${path}|ssh://(${user})?${host}${port}/${path}|${user}${host}:${path}"
    // {
      description = "https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH";
    };
  branch = types.addCheck types.str (
    name: builtins.match "[!-~]+" name != null && builtins.match "[-/.].*" name == null
  );
  part = "[A-Za-z0-9_.][A-Za-z0-9_.+-]*";
  place = types.addCheck types.str (
    path:
    path == ""
    || (
      builtins.match "${part}(/${part})*" path != null
      && builtins.match "(.*/)?([.]|[.][.]|[.]git)(/.*)?" (lib.toLower path) == null
    )
  );
  workspace = table {
    url = required cloned "The repo, by https or ssh, without a login in it.";
    branch = maybe branch "The branch; null: the one of the remote's HEAD.";
    path = option place "" "Where it lies in the folder of workspaces; empty: the last part of the URL.";
  };
  scoped = types.addCheck types.str (
    path:
    builtins.match "[^~].*" path != null
    && builtins.match "(.*/)?[.][.](/.*)?" path == null
    && builtins.stringLength path <= 1000
  );
  scopeRule = table {
    target = required scoped "The path; a relative one is below the folder of agent.toml.";
    permission = required (types.enum [
      "read"
      "write"
    ]) "What the rule gives, or takes away.";
    recursive = option types.bool true "Whether it goes for everything beneath, and not only for what is directly in it.";
  };
  atMost =
    limit: type: types.addCheck (types.listOf type) (entries: builtins.length entries <= limit);
  url = types.addCheck types.str (
    text: builtins.match "https://[!-~]+|http://(localhost|127[.][0-9.]+|\\[::1])([:/?][!-~]*)?" text != null
  );
  server = table {
    command = maybe command "The program and its arguments. A server has this or a url.";
    env = option variables { } "The program's environment. No secrets.";
    url = maybe url "The server's address: https, or http on loopback.";
    headers =
      option (types.attrsOf types.str) { }
        "Headers for the url. `\${ID}` stands for the agent's credential ID.";
  };
  serverName = name: builtins.match "[A-Za-z0-9_-]{1,64}" name != null && builtins.match "HIVE.*" (lib.toUpper name) == null;
  kinds = server: builtins.length (builtins.filter (key: server.${key} != null) [ "command" "url" ]);
  oneKind =
    servers:
    let
      wrong = builtins.filter (name: kinds servers.${name} != 1) (builtins.attrNames servers);
    in
    if wrong == [ ] then
      servers
    else
      throw "hive.agent.settings.mcp_servers.${builtins.head wrong} needs one of command and url, and not both";

  rule = table {
    when = option short ".*" "Regular expression for the whole message.";
    from = option short ".*" "Regular expression for the whole sender.";
    reply = maybe types.str "Send this text to the sender.";
    send = maybe (table {
      to = required types.str "Whom to write to.";
      body = required types.str "The text.";
    }) "Send a message.";
    ask = maybe (table {
      to = required types.str "Who is asked.";
      question = required types.str "What to ask.";
      options = option (types.listOf types.str) [ ] "Answers to offer.";
      multi = option types.bool false "Whether several may be chosen.";
    }) "Ask a question; its answer comes as a helper event.";
    answer = maybe types.str "Answer the question that the message is.";
    remind = maybe (table {
      message = required types.str "The text.";
      seconds = required (types.ints.between 0 31622400) "After how long.";
    }) "Have a message from `reminder` later.";
    commit = maybe (table {
      agent = required types.str "Whose proposed work tree.";
      file = required types.str "The file in it.";
      content = required types.str "Its new content.";
      message = required types.str "The commit's message.";
    }) "Write a file in a proposed work tree and commit it (manager only).";
    request = maybe (table {
      agent = required types.str "Whose work tree.";
      description = option types.str "" "The purpose of the agent.";
    }) "Ask for the head of a work tree to be approved (manager only).";
    sleep = maybe (seconds 86400) "Seconds to stay in the turn.";
    crash = maybe (types.either types.bool exitCode) "End at once with this exit code; true: by SIGKILL.";
  };
  settings = {
    runtime =
      option (types.enum (import ./runtimes.nix)) "script"
        "`script` answers by rules; the others drive a coding agent (docs/reference/agent-toml.md).";
    command = maybe command "The coding agent's command, instead of the runtime's own. Needed for `acp`.";
    model = maybe model "Which model the coding agent uses.";
    label = option types.str "" "Shown to people.";
    description = option types.str "" "Shown to people.";
    prompt = maybe types.str "Added to the coding agent's prompt.";
    recipients = option (types.listOf (
      types.addCheck recipient (name: !builtins.elem name reserved)
    )) [ "*" ] "Whom the agent may write to: names, `operator`, or `*`.";
    auto_propose = option types.bool false "Whether commits on main of its proposed work tree become proposals by themselves.";
    env = option variables { } "Variables for the coding agent and its tools. No secrets.";
    permissions = {
      allow = option rules [ ] "Rules of tools that the coding agent may use, in its own words.";
      deny = option rules [ ] "Rules of tools that it may not use.";
    };
    budget = {
      turns = maybe (types.ints.between 1 1000000000) "Turns per day (UTC).";
      tokens = maybe (types.ints.between 1 1000000000000000) "Tokens per day.";
      dollars = maybe (moreThanNone (seconds 1000000000)) "Dollars per day.";
    };
    limits = {
      turn_seconds = option (moreThanNone (seconds 86400)) 3600 "One turn, in seconds.";
      max_turns = maybe (types.ints.between 1 10000) "Rounds of the model in one turn.";
      silence_seconds = option (moreThanNone (seconds 86400)) 600 "Seconds without a line of the coding agent and without a running tool until it counts as dead.";
      tool_seconds = option (moreThanNone (seconds 86400)) 1800 "The same while a tool runs.";
    };
    scope = maybe (table {
      allow = required (types.addCheck (types.nonEmptyListOf scopeRule) (
        entries: builtins.length entries <= 64
      )) "What the coding agent may read and write.";
      deny = option (atMost 64 scopeRule) [ ] "What of it it may not.";
    }) "The paths of the coding agent; null: what its user may.";
    pods = {
      max = option (types.ints.between 0 16) 0 "How many sub-agents the agent may have at a time.";
      reports = option (types.listOf (types.enum [
        "turn_ended"
        "errored"
        "shut_down"
        "scope_sub_delegated"
      ])) [ ] "Of the manager: which reports of agents' pods it gets as messages.";
    };
    network = {
      allow =
        option (atMost 128 reachable) [ ]
          "What the agent may reach by the way out: hosts (ports 443 and 80), host:port, *.host, and groups of the operator.";
      defaults = option types.bool true "Whether it may reach the hosts of its runtime without naming them.";
    };
    workspace = option (atMost 16 workspace) [ ] "Repos that are cloned at the agent's first start.";
    mcp_servers = mkOption {
      type = types.addCheck (types.attrsOf server) (
        servers: builtins.all serverName (builtins.attrNames servers)
      );
      default = { };
      apply = oneKind;
      description = "More MCP servers: programs in the container, or URLs.";
    };
    script = option (types.addCheck (types.listOf rule) (
      rules: builtins.length rules <= 64
    )) [ ] "Rules of the script runtime; the first that matches is done.";
    start = {
      exit = maybe exitCode "End with this code before hello.";
      fault = maybe (types.enum [
        "never-hello"
        "mute"
        "old-generation"
        "hello-then-exit"
        "flap"
      ]) "How to misbehave, for trying out the health gate.";
      delay = option (seconds 3600) 0 "Seconds before anything else.";
    };
  };
in
{
  options.hive.agent = {
    file = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./agent.toml";
      description = "agent.toml, passed to the harness unchanged. null: it is written from `settings`.";
    };

    inherit settings;
  };

  config = {
    # not mkIf: that would read the file before checking that it exists
    hive.agent.settings = builtins.mapAttrs (_: lib.mkDefault) inFile;
    assertions = [
      {
        # the harness reads the file, and hive shows the file before the approval: a line here would be dropped
        assertion = cfg.file == null || besides == [ ];
        message = "hive.agent.settings.${lib.concatStringsSep " and hive.agent.settings." besides} beside hive.agent.file would not reach the harness, which reads that file; write it in ${baseNameOf (toString cfg.file)}, or remove hive.agent.file and write all in hive.agent.settings.";
      }
    ];
    warnings = lib.optional (cfg.settings.runtime == "script" && unread != [ ]) ''
      hive.agent.settings.${lib.concatStringsSep " and hive.agent.settings." unread}: the runtime "script" reads none of it; a coding agent does (runtime = "claude").'';
    environment.etc."hive/agent.toml" =
      if cfg.file != null then { source = cfg.file; } else { text = toml cfg.settings; };
  };
}

"""agent.toml in many forms, right and wrong, for its two judges: meta.agent_toml.settings and the NixOS module."""

from __future__ import annotations

_SERVER = '[mcp_servers."{}"]\ncommand = ["x"]\n'
_RULE = '[[script]]\nwhen = "a"\n'

GOOD = (
    "",
    'runtime = "claude"\nmodel = "m"\nlabel = "L"\ndescription = "D"\nprompt = "P"\n',
    'label = "quote \\" back \\\\ slash, \\u0007 bell, \\u007f del, ünï \\n line, ${not} nix, \'\' too"\n',
    "recipients = []\n",
    'recipients = ["*", "operator", "bob", "a-1"]\n',
    "[limits]\nturn_seconds = 0.5\nmax_turns = 1\n",
    "[limits]\nturn_seconds = 86400\nmax_turns = 10000\n",
    '[mcp_servers.files]\ncommand = ["srv", "--root", "/state"]\nenv = { KEY = "v" }\n' + _SERVER.format("A_-9"),
    _RULE + 'from = "operator"\nreply = "b {body}"\nsend = { to = "bob", body = "hi" }\nsleep = 1.5\ncrash = true\n',
    _RULE
    + 'commit = { agent = "a", file = "f", content = "c", message = "m" }\nrequest = { agent = "a" }\ncrash = 255\n',
    _RULE
    + 'answer = "yes"\nask = { to = "bob", question = "q", options = ["y"], multi = true }\n'
    + 'remind = { message = "m", seconds = 5 }\n',
    _RULE * 64,
    f'[[script]]\nwhen = "{"a" * 500}"\n',
    '[start]\nexit = 0\nfault = "mute"\ndelay = 3600\n',
    "[start]\ndelay = 0.25\n",
)

BAD = (
    'runtime = "docker"\n',
    "runtime = 3\n",
    'model = ""\n',
    "label = 3\n",
    "nonsense = 1\n",
    'recipients = "bob"\n',
    'recipients = ["Bob"]\n',
    'recipients = ["much-too-long-a-name"]\n',
    'recipients = ["bob-"]\n',
    'recipients = ["system"]\n',
    'recipients = ["hive"]\n',
    "[limits]\nturn_seconds = 0\n",
    "[limits]\nturn_seconds = 86401\n",
    '[limits]\nturn_seconds = "60"\n',
    "[limits]\nmax_turns = 0\n",
    "[limits]\nmax_turns = 10001\n",
    "[limits]\nmax_turns = 1.5\n",
    "[limits]\nmemory = 1\n",
    "[mcp_servers.files]\ncommand = []\n",
    "[mcp_servers.files]\n",
    '[mcp_servers.files]\ncommand = "x"\n',
    '[mcp_servers.files]\ncommand = ["x"]\nenv = { KEY = 1 }\n',
    '[mcp_servers.files]\ncommand = ["x"]\ncwd = "/"\n',
    _SERVER.format("hive"),
    _SERVER.format("a b"),
    _SERVER.format("a" * 65),
    _RULE * 65,
    f'[[script]]\nwhen = "{"a" * 501}"\n',
    _RULE + "reply = 1\n",
    _RULE + "otherwise = 1\n",
    _RULE + 'send = { to = "bob" }\n',
    _RULE + 'send = { to = "bob", body = "hi", cc = "x" }\n',
    _RULE + 'commit = { agent = "a", file = "f", content = "c" }\n',
    _RULE + 'request = { description = "d" }\n',
    _RULE + 'ask = { to = "bob" }\n',
    _RULE + 'remind = { message = "m", seconds = -1 }\n',
    _RULE + "sleep = -1\n",
    _RULE + "sleep = 86401\n",
    _RULE + "crash = 256\n",
    _RULE + 'crash = "yes"\n',
    "[start]\nexit = 256\n",
    '[start]\nfault = "never"\n',
    "[start]\ndelay = 3601\n",
    "[start]\ndelay = -1\n",
)

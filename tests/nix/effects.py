"""The table of the modules' options: for each what it changes outside of its module.

A new option of `services.hive` or `hive.agent` needs a row here, or tests/nix/test_effects.py fails. The daemon's
settings and the keys of agent.toml need none: a test gives all of them at once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """What `text` an option brings to a `place`.

    `value` is Nix, in which `pkgs` and `lib` are known. With `text` None the option removes the place. `beside` are
    lines of a module that are there with and without the option. The names of the places are in tests/nix/effects.nix.
    """

    value: str
    place: str
    text: str | None
    beside: str = ""


NETWORK = "etc hive/network.toml"
PY = 'services.hive.network.groups.py = [ "pypi.org" ];'
KEY = 'services.hive.network.credentials.alice.file = "/run/secrets/k";'
ENV = "etc hive/daemon.env"
DASHBOARD = "services.hive.dashboard.enable = true;"

HOST = {
    "enable": Effect("false", "unit hive.service", None),
    "package": Effect("pkgs.hello", "unit hive.service", "-hello/bin/hive serve"),
    "stateDir": Effect('"/srv/hive"', "unit hive.service", "--state /srv/hive "),
    "runtimeDir": Effect('"/run/two"', "unit hive.service", "RuntimeDirectory=two"),
    "group": Effect('"swarm"', "user hive", '"group":"swarm"'),
    "operators": Effect('[ "ada" ]', "group hive", '"members":["ada"]'),
    "credentials": Effect('{ alice.x = "/run/secrets/x"; }', "etc hive/credentials.json", "/run/secrets/x"),
    "agents": Effect("{ alice = { }; }", "etc hive/agents.json", '"alice"'),
    "agents.<name>.settings": Effect('{ label = "Al"; }', "etc hive/agents.json", "Al"),
    "agents.<name>.module": Effect("./rows.nix", "etc hive/agents.json", "-rows.nix"),
    "agentModules": Effect("[ ./rows.nix ]", "etc hive/daemon.env", "HIVE_AGENT_MODULES="),
    "backend": Effect('"local"', "unit hive.service", "HIVE_BACKEND=local"),
    "builder": Effect('"plain"', "unit hive.service", "HIVE_BUILDER=plain"),
    "watchdog": Effect("90", "unit hive.service", "WatchdogSec=90"),
    "revision": Effect('"abc"', "unit hive.service", "HIVE_REVISION=abc"),
    "network.ceiling": Effect('[ "*.example.org" "@py" ]', "unit hive-egress.service", "=*.example.org @py", beside=PY),
    "network.groups": Effect('{ py = [ "pypi.org" ]; }', NETWORK, 'groups = { "py" = ["pypi.org"] }'),
    "network.private": Effect('[ "registry.corp:443" ]', NETWORK, 'private = ["registry.corp:443"]'),
    "network.hosts": Effect('{ "registry.corp" = "10.1.2.3"; }', NETWORK, 'hosts = { "registry.corp" = "10.1.2.3" }'),
    "network.limits.connections": Effect("7", NETWORK, 'limits = { "connections" = 7 }'),
    "network.limits.bytes_per_second": Effect("2048", NETWORK, 'limits = { "bytes_per_second" = 2048 }'),
    "network.limits.idle_seconds": Effect("1000", NETWORK, 'limits = { "idle_seconds" = 1000 }'),
    "network.credentials": Effect(
        '{ openai.file = "/run/secrets/o"; }', "unit hive-egress.service", "LoadCredential=openai:/run/secrets/o"
    ),
    "network.credentials.<name>.file": Effect(
        '"/run/secrets/other"', "unit hive-egress.service", "LoadCredential=alice:/run/secrets/other"
    ),
    "network.credentials.<name>.kind": Effect('"openai"', NETWORK, '"kind" = "openai"', KEY),
    "network.credentials.<name>.upstream": Effect('"https://a.example"', NETWORK, '"https://a.example"', KEY),
    "network.credentials.<name>.header": Effect('"x-key"', NETWORK, '"header" = "x-key"', KEY),
    "network.credentials.<name>.value": Effect('"Token {key}"', NETWORK, '"value" = "Token {key}"', KEY),
    "network.credentials.<name>.user": Effect('"ada"', NETWORK, '"user" = "ada"', KEY),
    "network.credentials.<name>.agents": Effect('[ "bob" ]', NETWORK, '"agents" = ["bob"]', KEY),
    "network.credentials.<name>.paths": Effect('[ "GET /v1/" ]', NETWORK, '"paths" = ["GET /v1/"]', KEY),
    "network.file": Effect('"/etc/hive-network.toml"', "egress", "--network /etc/hive-network.toml"),
    "dashboard.enable": Effect("true", ENV, 'HIVE_DASHBOARD_PORT="8420"'),
    "dashboard.port": Effect("9000", ENV, 'HIVE_DASHBOARD_PORT="9000"', DASHBOARD),
    "dashboard.address": Effect('"127.0.0.2"', ENV, 'HIVE_DASHBOARD_ADDRESS="127.0.0.2"', DASHBOARD),
    "dashboard.origin": Effect('"https://h.example"', ENV, 'HIVE_DASHBOARD_ORIGIN="https://h.example"', DASHBOARD),
    "dashboard.behindProxy": Effect("true", ENV, 'HIVE_DASHBOARD_BEHIND_PROXY="true"', DASHBOARD),
    "dashboard.openFirewall": Effect("true", "firewall", "8420", DASHBOARD),
    "dashboard.tls.certificate": Effect(
        '"/run/secrets/c"', "unit hive.service", "LoadCredential=dashboard-certificate:/run/secrets/c", DASHBOARD
    ),
    "dashboard.tls.key": Effect(
        '"/run/secrets/k"', "unit hive.service", "LoadCredential=dashboard-key:/run/secrets/k", DASHBOARD
    ),
    "settings": Effect("{ builds = 7; }", "etc hive/daemon.env", 'HIVE_BUILDS="7"'),
}
"""By the option's name below `services.hive`."""

AGENT = {
    "enable": Effect("false", "unit hive-harness.service", None),
    "role": Effect('lib.mkForce "manager"', "unit hive-harness.service", "HIVE_ROLE=manager"),
    "package": Effect("pkgs.hello", "unit hive-harness.service", "-hello/bin/hive-harness serve"),
    "runtimes": Effect(
        '[ "script" ]', "refused", "has no such runtime", beside='hive.agent.settings.runtime = "claude";'
    ),
    "cli.package": Effect("pkgs.claude-code", "unit hive-harness.service", "-claude-code/bin"),
    "packages": Effect("[ pkgs.ripgrep ]", "unit hive-harness.service", "-ripgrep/bin"),
    "user": Effect('"dev"', "unit hive-harness.service", "User=dev"),
    "uid": Effect("1500", "user agent", '"uid":1500'),
    "environment": Effect('{ EDITOR = "ed"; }', "unit hive-harness.service", "EDITOR=ed"),
    "file": Effect("./agent.toml", "etc hive/agent.toml", "[[script]]"),
    "credentials": Effect('[ "x" ]', "unit hive-harness.service", "LoadCredential=x"),
    "nix.enable": Effect("true", "unit hive-own-nix.service", "own-nix.sh"),
}
"""By the option's name below `hive.agent`."""

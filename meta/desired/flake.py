"""flake.nix of the meta repo, rendered from what is desired, and the one-agent change of flake.lock. Pure.

Each agent is one input, pinned by ref and rev, so that a plain `nix flake lock` moves just that one (ref alone
would follow a moved tag; rev alone fails on a bare repo with nix 2.8). An input is no flake (`flake = false`): an
agent cannot extend the lock, and its repo is evaluated only where its module is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from meta.errors import BadInput
from meta.model import AgentEntry, Desired, Role
from meta.names import AgentName

FLAKE_FILE = "flake.nix"
LOCK_FILE = "flake.lock"

HOST_PLATFORM = f"{os.uname().machine}-linux"
"""What every container is built for: a container runs on the host's kernel."""

_SHARED = ("nixpkgs", "hyperhive")
_PORTS = 20_000
"""First port handed out as HIVE_PORT."""

_SUMMARISE = """\
# what a system is, for people who approve it; an option that is missing or fails counts as empty
summarise = config:
  let
    inherit (builtins) attrNames concatLists concatStringsSep deepSeq elem filter getAttr hashString isList;
    inherit (builtins) isString listToAttrs map mapAttrs parseDrvName substring toJSON toString tryEval;
    or_ = default: value: let got = tryEval (deepSeq value value); in if got.success then got.value else default;
    text = value: or_ "" (toString value);
    words = value: if isList value then map text value else filter (word: word != "") [ (text value) ];
    plain = builtins.unsafeDiscardStringContext;
    digest = value: or_ "" (substring 0 12 (hashString "sha256" (plain (toJSON value))));
    enabled = set: listToAttrs (map (name: { inherit name; value = getAttr name set; })
      (filter (name: or_ true ((getAttr name set).enable or true)) (attrNames set)));
    named = kind: map (name: {
      name = "${name}.${kind}";
      value = let unit = getAttr name (enabled (config.systemd."${kind}s" or { })); in digest {
        script = unit.script or "";
        config = unit."${kind}Config" or { };
        environment = unit.environment or { };
        wantedBy = unit.wantedBy or [ ];
      };
    }) (attrNames (enabled (config.systemd."${kind}s" or { })));
    services = enabled (config.systemd.services or { });
    users = config.users.users or { };
    user = _: it: concatStringsSep " " (
      [ "uid ${if or_ null (it.uid or null) == null then "any" else toString it.uid}" ]
      ++ words (or_ [ ] (it.extraGroups or [ ])));
    firewall = config.networking.firewall or { };
    range = protocol: it: "${protocol}/${toString it.from}-${toString it.to}";
    port = protocol: it: "${protocol}/${toString it}";
    wrappers = config.security.wrappers or { };
    wrapped = test: filter (name: or_ false (test (getAttr name wrappers))) (attrNames wrappers);
    mounts = config.fileSystems or { };
  in
  {
    packages = map (it: or_ { name = "unnamed"; } (
      let whole = parseDrvName (if isString it then baseNameOf it else it.name or "unnamed"); in {
        name = text (it.pname or whole.name);
        version = text (it.version or whole.version);
      })) (config.environment.systemPackages or [ ]);
    units = listToAttrs (concatLists (map named [ "service" "socket" "timer" ]));
    users = or_ { } (mapAttrs user users);
    ports = or_ [ ] (
      map (port "tcp") (firewall.allowedTCPPorts or [ ])
      ++ map (port "udp") (firewall.allowedUDPPorts or [ ])
      ++ map (range "tcp") (firewall.allowedTCPPortRanges or [ ])
      ++ map (range "udp") (firewall.allowedUDPPortRanges or [ ])
      ++ (if firewall.enable or true then [ ] else [ "all (the firewall is off)" ]));
    binds = or_ [ ] (map (name: "${text ((getAttr name mounts).device or "")} on ${name}")
      (filter (name: elem "bind" ((getAttr name mounts).options or [ ])) (attrNames mounts)));
    capabilities = or_ [ ] (
      concatLists (map (name: map (it: "${it} of ${name}.service")
        (words ((getAttr name services).serviceConfig.AmbientCapabilities or [ ]))) (attrNames services))
      ++ map (name: "${text (getAttr name wrappers).capabilities} of program ${name}")
        (wrapped (it: (it.capabilities or "") != "")));
    setuid = wrapped (it: it.setuid or false || it.setgid or false);
  };
"""
"""Nix function: a NixOS configuration -> the JSON of meta.nix.summary."""

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def nix_string(text: str) -> str:
    """`text` as a Nix string literal that means exactly it. BadInput for a NUL, which Nix cannot hold."""
    if "\0" in text:
        raise BadInput("a NUL character cannot be written in Nix")
    return f'"{text.translate(_ESCAPES)}"'


def input_name(agent: AgentName) -> str:
    """ "agent-alice"."""
    return f"agent-{agent}"


def input_url(agent: AgentName, entry: AgentEntry, applied_git: Callable[[AgentName], Path]) -> str:
    """Where nix gets the agent's pinned commit from."""
    return git_url(applied_git(agent), f"refs/tags/proposal/{entry.pin.id}", entry.pin.sha)


def git_url(git_dir: Path, ref: str, commit: str) -> str:
    """Flake URL of one commit of a repo. With `ref` as well, since nix 2.8 fetches nothing of a bare repo without."""
    return f"git+file://{quote(str(git_dir))}?ref={ref}&rev={commit}"


def port(entry: AgentEntry) -> int:
    """Loopback port of the agent's harness relay: follows from its uid range, so it is fixed and its own."""
    return _PORTS + (entry.settings.uid_base // 65_536) % 40_000


def identity(agent: AgentName, entry: AgentEntry, dashboard: int = 0) -> dict[str, str]:
    """What the harness is told about itself, as variables. `dashboard`: the host's port of it; 0: there is none."""
    shown = {"HIVE_DASHBOARD_PORT": str(dashboard)} if dashboard else {}
    return {"HIVE_LABEL": agent, "HIVE_PORT": str(port(entry)), **shown}


def render(
    desired: Desired,
    applied_git: Callable[[AgentName], Path],
    nixpkgs: str = "",
    hyperhive: str = "",
    dashboard: int = 0,
) -> bytes:
    """flake.nix. The same for the same arguments; agents are sorted.

    `nixpkgs` and `hyperhive` are flake URLs; for `dashboard` see `identity`. Without `nixpkgs` the outputs only name
    each agent's module (`agents.<n>`); with it there is a `nixosConfigurations.<n>` and a `summary.<n>` (JSON, see
    meta.nix.summary, evaluated without building) per agent.
    """
    agents = sorted(desired.agents.items())
    inputs = [_input(name, entry, applied_git) for name, entry in agents]
    if nixpkgs:
        inputs.append(f"    nixpkgs.url = {nix_string(nixpkgs)};")
    if hyperhive:  # only its files: as a flake it would bring its own nixpkgs into the lock
        inputs.append(f"    hyperhive = {{ url = {nix_string(hyperhive)}; flake = false; }};")
    modules = [
        f'    agents.{nix_string(name)} = "${{inputs.{nix_string(input_name(name))}}}/agent.nix";' for name, _ in agents
    ]
    systems = [_system(name, entry, bool(hyperhive), dashboard) for name, entry in agents] if nixpkgs else []
    summarise = (
        ["    let", *(f"      {line}".rstrip() for line in _SUMMARISE.splitlines()), "    in"] if nixpkgs else []
    )
    lines = [
        "# Written by hive from agents.json; the next deploy writes it again.",
        "{",
        '  description = "what every agent of this hive runs";',
        "",
        "  inputs = {",
        *inputs,
        "  };",
        "",
        "  outputs = inputs:",
        *summarise,
        "  {",
        *modules,
        *systems,
        "  };",
        "}",
        "",
    ]
    return "\n".join(lines).encode()


@lru_cache(maxsize=4096)  # a commit changes one agent of many: the lines of the others are at hand
def _input(name: AgentName, entry: AgentEntry, applied_git: Callable[[AgentName], Path]) -> str:
    url = nix_string(input_url(name, entry, applied_git))
    return f"    {nix_string(input_name(name))} = {{ url = {url}; flake = false; }};"


def _system(name: AgentName, entry: AgentEntry, templates: bool, dashboard: int) -> str:
    template = "manager" if entry.settings.role is Role.MANAGER else "agent-base"
    # with the template the harness's unit has them; without, whatever the agent's own module makes of them
    variables = "hive.agent.environment" if templates else "environment.variables"
    lines = [
        f"    nixosConfigurations.{nix_string(name)} = inputs.nixpkgs.lib.nixosSystem {{",
        "      modules = [",
        *([f'        "${{inputs.hyperhive}}/nix/templates/{template}.nix"'] if templates else []),
        f'        "${{inputs.{nix_string(input_name(name))}}}/agent.nix"',
        "        {",
        f"          nixpkgs.hostPlatform = {nix_string(HOST_PLATFORM)};",
        "          boot.isContainer = true;",
        f"          networking.hostName = {nix_string(name)};",
        f"          system.configurationRevision = {nix_string(entry.pin.sha)};",
        *(
            f"          {variables}.{key} = {nix_string(value)};"
            for key, value in identity(name, entry, dashboard).items()
        ),
        "        }",
        "      ];",
        "    };",
        f"    summary.{nix_string(name)} = summarise inputs.self.nixosConfigurations.{nix_string(name)}.config;",
    ]
    return "\n".join(lines)


def revision(lock: bytes | None, name: str) -> str:
    """The revision (or else the content hash) at which `lock` has the shared input `name`; "" when it has none."""
    try:
        content = json.loads(lock or b"{}")
        locked = content["nodes"][content["nodes"][content["root"]]["inputs"][name]]["locked"]
        return str(locked.get("rev") or locked["narHash"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def shared_hashes(lock: bytes | None) -> tuple[str, ...]:
    """The `narHash` of each input that is not an agent's, also of inputs' inputs."""
    try:
        nodes = json.loads(lock or b'{"nodes": {}}')["nodes"]
        found = [node.get("locked", {}).get("narHash") for name, node in nodes.items() if not name.startswith("agent-")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(str(each) for each in found if each)


def local_paths(lock: bytes | None) -> tuple[Path, ...]:
    """Directories and repos of this host that `lock` takes shared inputs (not agents) from."""
    try:
        nodes = json.loads(lock or b'{"nodes": {}}')["nodes"]
        found = [(name, node.get("locked", {})) for name, node in nodes.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    paths = []
    for name, locked in found:
        where = str(locked.get("path") or unquote(urlsplit(str(locked.get("url", ""))).path))
        is_local = locked.get("type") == "path" or str(locked.get("url", "")).startswith("file:")
        if is_local and not name.startswith("agent-") and Path(where).is_absolute():
            paths.append(Path(where))
    return tuple(paths)


def merge_lock(head: bytes | None, candidate: bytes, agent: AgentName, keep: Collection[AgentName]) -> bytes:
    """HEAD's flake.lock with `agent`'s input as the candidate locked it: what others committed meanwhile stays.

    Inputs of agents that are not in `keep` go. BadInput when one of the two is no flake.lock.
    """
    name = input_name(agent)
    try:
        theirs = json.loads(candidate)
        ours = json.loads(head) if head is not None else theirs
        root, other = ours["nodes"][ours["root"]], theirs["nodes"][theirs["root"]]
        if any(shared in other["inputs"] and shared not in root.get("inputs", {}) for shared in _SHARED):
            return candidate  # the first lock with nixpkgs: HEAD has nothing to keep
        ours["nodes"][name] = theirs["nodes"][other["inputs"][name]]
        root.setdefault("inputs", {})[name] = name
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(error) from error
    return prune_lock(json.dumps(ours).encode(), keep)


def prune_lock(lock: bytes, keep: Collection[AgentName]) -> bytes:
    """`lock` without the inputs of agents that are not in `keep`. BadInput when it is no flake.lock."""
    names = {input_name(agent) for agent in keep}
    try:
        content = json.loads(lock)
        inputs = content["nodes"][content["root"]].get("inputs", {})
        for name in [name for name in inputs if name.startswith("agent-") and name not in names]:
            content["nodes"].pop(inputs.pop(name), None)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(error) from error
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _damaged(error: Exception) -> BadInput:
    return BadInput(f"flake.lock of the meta repo is damaged ({error!r})", "remove it by a commit on meta")

# A commit whose harness never says hello is rolled back, and the agent is healthy again.
{ hive, ... }:
{
  name = "hive-unhealthy";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    hive("spawn alice --wait")
    good = host.succeed("readlink /nix/var/nix/profiles/per-container/alice/system")
    number = propose("alice", "agent.toml", "[start]\nfault = \"never-hello\"\n")
    host.fail(f"runuser -l ada -c 'hive approve {number} --wait'")
    assert f"failed/{number}" in tags("alice")
    hive("reconcile alice --wait")
    assert agent("alice")["phase"] == "running"
    link = host.succeed("readlink /nix/var/nix/profiles/per-container/alice/system")
    real = lambda name: host.succeed(f"readlink -f /nix/var/nix/profiles/per-container/alice/{name.strip()}")
    assert real(link) == real(good)
  '';
}

# Spawn, propose by push, approve, deploy.
{ hive, ... }:
{
  name = "hive-deploy";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    hive("spawn alice --wait")
    host.wait_for_unit("container@alice.service")
    before = host.succeed("readlink /nix/var/nix/profiles/per-container/alice/system")

    number = push("alice", "agent.toml", "label = \"the second\"\n[[script]]\nreply = \"pong\"\n")
    assert f"proposal/{number}" in tags("alice")
    hive(f"approve {number} --wait")
    assert f"deployed/{number}" in tags("alice")
    assert host.succeed("readlink /nix/var/nix/profiles/per-container/alice/system") != before
    assert "alice" in hive("log")
  '';
}

# A commit that does not build ends as failed; the agent keeps running what it ran.
{ hive, ... }:
{
  name = "hive-bad-build";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    hive("spawn alice --wait")
    before = host.succeed("systemctl show container@alice.service -P InvocationID")
    number = propose("alice", "agent.nix", "{ services.nothing.of.this.name = true; }\n")
    host.fail(f"runuser -l ada -c 'hive approve {number} --wait'")
    assert f"failed/{number}" in tags("alice")
    assert host.succeed("systemctl show container@alice.service -P InvocationID") == before
  '';
}

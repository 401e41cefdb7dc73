# A container that dies is started again; a daemon that dies leaves its agents alone.
{ hive, ... }:
{
  name = "hive-crash";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    hive("spawn alice --wait")
    host.succeed("machinectl kill alice --signal=KILL")
    host.wait_until_succeeds("runuser -l ada -c 'hive reconcile alice --wait'", timeout=120)
    assert agent("alice")["phase"] == "running"

    before = host.succeed("systemctl show container@alice.service -P InvocationID")
    host.succeed("systemctl kill --signal=KILL hive.service")
    host.wait_until_succeeds("runuser -l ada -c 'hive list'", timeout=60)
    assert host.succeed("systemctl show container@alice.service -P InvocationID") == before
  '';
}

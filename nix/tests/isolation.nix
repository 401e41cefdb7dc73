# Two agents do not see each other: not their files, not their processes, not their sockets.
{ hive, ... }:
{
  name = "hive-isolation";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    hive("spawn alice --wait")
    hive("spawn bob --wait")

    def inside(name: str, command: str) -> str:
        return host.succeed(f"systemd-run -M {name} --uid=agent --wait --pipe -q -- /bin/sh -c {shlex.quote(command)}")

    inside("alice", "echo mine > /state/note")
    assert "note" not in inside("bob", "ls /state")
    assert inside("alice", "cat /proc/self/uid_map").split()[1] != inside("bob", "cat /proc/self/uid_map").split()[1]
    assert "bob" not in inside("alice", "ls /run/hive; ls /")
    host.fail("systemd-run -M alice --uid=agent --wait -q -- /bin/sh -c 'test -e /run/hyperhive'")
    inside("alice", "test ! -e /agents && test ! -e /meta && test ! -e /applied")
    inside("manager", "test -d /agents && test -d /applied && test ! -w /applied && test ! -w /meta")
    inside("manager", "git -C /meta log --oneline -1")
  '';
}

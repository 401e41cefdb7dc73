# After a reboot hive starts its containers again, not systemd, and a stopped agent stays stopped.
{ hive, ... }:
{
  name = "hive-reboot";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    hive("spawn alice --wait")
    hive("spawn idle --wait")
    hive("stop idle --wait")
    host.shutdown()
    host.start()
    ready()
    hive("reconcile --wait")
    assert agent("alice")["phase"] == "running"
    assert agent("idle")["phase"] == "stopped"
    host.fail("systemctl is-active container@idle.service")
  '';
}

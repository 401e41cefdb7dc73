# services.hive.enable: the daemon runs as the user hive, the manager is there, members of the group may use it.
{ hive, ... }:
{
  name = "hive-enable";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    assert host.succeed("systemctl show hive.service -P User").strip() == "hive"
    assert host.succeed("stat -c %a:%U /run/hive-privileged/socket").strip() == "600:hive"
    assert agent("manager")["phase"] == "running"
    host.fail("runuser -l bob -c 'hive list'")
    host.fail("runuser -u ada -- test -r /var/lib/hyperhive/hive.db")
    host.succeed("systemd-analyze security hive.service --threshold=25 --no-pager")
  '';
}

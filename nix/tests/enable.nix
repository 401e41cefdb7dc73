# services.hive.enable: the daemon runs as the user hive, the manager is there, members of the group may use it.
{ hive, ... }:
{
  name = "hive-enable";
  nodes.host = import ./host.nix { inherit hive; };
  testScript = builtins.readFile ./words.py + ''
    ready()
    assert host.succeed("systemctl show hive.service -P User").strip() == "hive"
    assert host.succeed("stat -c %a:%U /run/hive-privileged/socket").strip() == "600:hive"
    host.wait_for_unit("hive-egress.service")
    assert host.succeed("systemctl show hive-egress.service -P User").strip() == "hive-egress"
    assert host.succeed("stat -c %a:%U:%G /run/hive-egress").strip() == "750:hive-egress:hive-egress"
    assert host.succeed("stat -c %a:%U /run/hyperhive/egress/manager").strip() == "750:hive-egress"
    host.fail("runuser -u ada -- ls /run/hive-egress")
    host.succeed("systemd-analyze security hive-egress.service --threshold=20 --no-pager")
    assert agent("manager")["phase"] == "running"
    host.fail("runuser -l bob -c 'hive list'")
    host.fail("runuser -u ada -- test -r /var/lib/hyperhive/hive.db")
    host.succeed("systemd-analyze security hive.service --threshold=25 --no-pager")
  '';
}

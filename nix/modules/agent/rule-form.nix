# The forms of hosts and rules (meta/network/rule.py), as regular expressions. Whether a host is a clean one hive says.
let
  label = "[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?";
  name = "${label}([.]${label})*";
  ipv6 = "\\[[0-9a-f:.]+]";
in
rec {
  port = "[1-9][0-9]{0,4}";
  # one host, without a pattern
  host = "${name}|${ipv6}";
  rule = "([*]|([*][.])?${name}|${ipv6})(:(${port}|[*]))?";
  group = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?";
  entry = "@${group}|${rule}";
}

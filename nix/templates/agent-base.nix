# The container of an agent.
{
  imports = [ ./harness-base.nix ];

  hive.agent.role = "agent";
}

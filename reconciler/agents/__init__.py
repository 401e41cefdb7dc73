"""Commands about agents: spawn, run, roll back, rebuild, destroy."""

"""The trailers of commits on meta `main` and `run`."""

from __future__ import annotations

ACTION, ID, AGENT, SHA, GENERATION, BY = (
    "Hive-Action",
    "Hive-Id",
    "Hive-Agent",
    "Hive-Sha",
    "Hive-Generation",
    "Hive-By",
)
RULE, UNTIL, REQUEST = "Hive-Rule", "Hive-Until", "Hive-Request"
"""Of a grant for a time: the rule, its end in Unix seconds, and the request that it answers."""
NETWORK_ALLOW, NETWORK_REVOKE = "network-allow", "network-revoke"
"""The actions, on `run`, that give an agent a rule for a time and take it back."""

REBUILD = "rebuild"
"""The action of a rebuild on other shared inputs. It deploys nothing."""

FORGET = "forget"
"""The action that ends the history of an agent's name. Its ids may then come again."""

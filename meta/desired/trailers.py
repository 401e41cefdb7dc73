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
REBUILD = "rebuild"
"""The action of a rebuild on other shared inputs. It deploys nothing."""

FORGET = "forget"
"""The action that ends the history of an agent's name. Its ids may then come again."""

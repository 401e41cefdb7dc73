"""What `hive-egress` answers to an agent about itself on its socket: `GET /.hive/way-out`. Standard library only.

    GET /.hive/way-out?after=17
    -> {"routes": {"anthropic": "anthropic"}, "held": "", "refused": [{"host", "port", "count"}], "next": 21}

`routes` has the kind of each key that this agent may use, in the order of the operator's file. `upstreams` has where
those of kind `git` lead, if there are any: git asks the route instead. `refused` are the refusals after the number
`after`, added up by host and port, those that were refused most often; `more` is how many hosts and ports were left
out, if any were. The harness puts them into the agent's next turn and asks with `next` from then on.
"""

from __future__ import annotations

PREFIX = "/.hive/"
WAY_OUT = "/.hive/way-out"
ANSWER_LIMIT = 256 * 1024
"""Bytes of the answer."""

"""The tabs of an agent's page beside its live turn: inbox, questions, network, logs, generations, settings, usage."""

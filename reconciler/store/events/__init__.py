"""Tables of the event log: rows, kinds, hash chain, events of cards and of helpers."""

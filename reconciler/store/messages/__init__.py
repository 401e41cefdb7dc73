"""Tables of the broker: message rows, lists, quotas, texts."""

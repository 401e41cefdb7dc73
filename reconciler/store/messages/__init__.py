"""Tables of the broker: message rows, lists, notices, texts."""

"""How reality follows: observe, plan, apply, queue, backends, builders and the store."""

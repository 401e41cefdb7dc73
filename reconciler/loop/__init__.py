"""When an agent is reconciled: the keyed queue and the reconcile loop."""

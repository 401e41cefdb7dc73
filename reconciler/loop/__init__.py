"""Who is looked at when: the keyed queue and the reconcile loop."""

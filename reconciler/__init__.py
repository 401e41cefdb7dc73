"""The reconciler makes the containers equal to what is desired: observe, plan, apply."""

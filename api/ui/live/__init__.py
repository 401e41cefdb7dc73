"""Live pages: each view that is open is rendered anew after changes, once for all who look at it."""

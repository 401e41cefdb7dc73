"""Leases: which pod of this container may write where, and who gets it back."""

"""The page Events: the audit trail."""

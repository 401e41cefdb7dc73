"""The dashboard: pages over the table of operations, one live stream a page, and who gets in."""

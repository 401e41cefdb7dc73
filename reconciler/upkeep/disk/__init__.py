"""The guard of the disk: measures what agents hold, keeps the reserve, reports a full disk."""

"""What more than one part of the reconciler uses, and what knows no agent."""

"""What several rooms use and what knows no agent. Imports no other room."""

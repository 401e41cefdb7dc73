"""Who may use the dashboard: logins, sessions and passkeys of operators."""

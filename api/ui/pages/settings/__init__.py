"""The page Settings: logins, passkeys and notifications."""

"""The dashboard in Debian's Chromium, against a real daemon."""

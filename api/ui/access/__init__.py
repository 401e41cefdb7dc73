"""Who gets in: the guard of every request, and the login."""

"""What an operator runs now and then, with a daemon or without."""

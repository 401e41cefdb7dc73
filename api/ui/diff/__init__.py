"""What a change shows: git's patch as values, whole words that changed, folds, and the words of code in it."""

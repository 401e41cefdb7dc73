"""What a fold of a diff loads when it is opened: a long file, or lines that did not change."""

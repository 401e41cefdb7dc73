"""From a branch's tip to an approved id."""

"""The path of a proposal: from a branch's tip to an approved id."""

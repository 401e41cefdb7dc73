# The oldest release of nixpkgs that the modules work with: 25.05 has a pydantic that is too old.
"25.11"

# The oldest release of nixpkgs that the modules work with.
"25.05"

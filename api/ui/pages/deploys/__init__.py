"""The page Deploys: what is being deployed, what failed, and the log of all."""

"""The way out as the daemon sees it: the policy that it pushes, grants, requests, and what was refused."""

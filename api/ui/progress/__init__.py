"""How far a deploy is: its steps in words. The pages Needs you and Deploys share them."""

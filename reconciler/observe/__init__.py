"""The observed state: containers, links, generations, and the settings that agents run with."""

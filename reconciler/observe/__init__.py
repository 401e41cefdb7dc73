"""What is: containers, links, generations, and the settings that agents run with."""

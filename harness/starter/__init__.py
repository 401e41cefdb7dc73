"""CLIs under another uid than the harness's: the harness orders a start over a socket, the starter carries it out."""

"""From the command line to checked jobs, and from errors to one line and an exit code."""

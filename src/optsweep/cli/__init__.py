"""From the command line to checked jobs, and from errors to one line and an exit code.

`main` gives exit codes, `composing` and `jobs` make jobs from overrides, `launching` is what all
launchers share, and `input_errors` words errors.
"""

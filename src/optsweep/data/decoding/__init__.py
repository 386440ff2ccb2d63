"""Picture files into one tensor: on all cores, with progress, and continued after a kill."""

"""What a person sees of a sweep: the terminal table, CSV, the HTML page and figures."""

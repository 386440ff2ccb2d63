"""What a person sees of a sweep while it runs: bars on the terminal, and a page in its folder."""

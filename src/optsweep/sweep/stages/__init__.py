"""What a sweep adds to its own jobs, one stage after another.

`extension` goes beyond the edges of the grid, `confirmation` runs what was chosen at fresh seeds;
`stages` puts them in order.
"""

"""Every judgement about scores: ranking, candidates, boundaries, tests, intervals, sentences."""

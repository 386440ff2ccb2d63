"""Rows of scores: from a sweep's records, or from runs that other programs logged."""

"""A verdict on plain scores: `judge.judge_table` is given rows and hands on an `Answer`."""

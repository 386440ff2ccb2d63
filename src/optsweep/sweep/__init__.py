"""Which jobs run, when, and again.

`sweep` runs a whole sweep and `single_run` a single run. `rounds` and `stack_planner` plan, the
`scheduler` submits and retries, `resume` reuses earlier runs, `extension` adds jobs,
`live_report` shows how far they are, and `summary` reports.
"""

"""What happens in one worker: a job, its checks, and one run or stack from build to finish.

`job` and `preflight` are before the start, `run` is the run itself, `artifacts` what it logs.
`progress` and `status_file` say how far it is; `owner`, `lease` and `heartbeat` say who runs it.
"""

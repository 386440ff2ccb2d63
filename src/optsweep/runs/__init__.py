"""What happens in one worker: a job, its checks, and one run or stack from build to finish."""

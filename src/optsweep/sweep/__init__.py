"""Which jobs run, when, and again: scheduler, stack planner, resume, extension, summary."""

"""What is settled before runs start: which GPU each gets, and what would run (`plan`, `check`)."""

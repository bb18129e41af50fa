"""What `lookalike doctor` checks: a function for each check, in a list, each run in a process of its own."""

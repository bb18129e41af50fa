"""What the commands share: the console, options, and the first moments of a process."""

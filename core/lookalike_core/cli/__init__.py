"""The command line's shared parts: console, options, start of a process."""

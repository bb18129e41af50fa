"""The command `search`: a module for the options and output of each subcommand."""

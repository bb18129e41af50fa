"""The command `exporter`: a module for the options and output of each subcommand."""

"""The command `ingest`: a module for the options and output of each subcommand."""

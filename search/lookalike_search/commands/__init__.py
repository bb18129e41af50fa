"""What each subcommand of `search` asks for and prints; the work is done in the rooms beside."""

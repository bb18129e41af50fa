"""What `ingest` asks for and prints."""

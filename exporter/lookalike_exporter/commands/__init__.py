"""What `exporter` asks for and prints."""

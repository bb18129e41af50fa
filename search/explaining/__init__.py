"""Where the similarity of two pictures comes from."""

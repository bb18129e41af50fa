"""Stage 3: finds the nearest neighbours of an image in a collection."""

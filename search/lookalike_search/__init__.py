"""Stage 3: an image is asked about, its nearest neighbours come out."""

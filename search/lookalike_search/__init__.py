"""Stage 3: a picture is asked about, its nearest neighbours come out."""

"""Stage 2: a folder of pictures becomes collections."""

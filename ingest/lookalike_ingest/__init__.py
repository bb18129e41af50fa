"""Stage 2: a folder of images becomes collections."""

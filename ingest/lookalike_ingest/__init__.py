"""Stage 2: brings Qdrant collections up to date with a folder of images."""

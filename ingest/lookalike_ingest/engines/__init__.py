"""Engines that embed and write on other machines; `engine` is what an ingest knows of them."""

"""Images that are no files of this machine: objects of an object store, rows of a Parquet dataset."""

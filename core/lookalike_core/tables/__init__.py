"""Collections as files for other programs: Parquet, which is also read back, NumPy's format and CSV."""

"""The umbrella command: `exporter`, `ingest` and `search` under one name, versions, and the doctor."""

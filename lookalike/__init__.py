"""What every stage shares: backbones, pictures, the embedder, the stores, settings and errors.

This package knows no stage: `exporter`, `ingest` and `search` import it, never the other way round.
"""

__version__ = "0.1.0"

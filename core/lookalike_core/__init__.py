"""What the stages share; this package imports none of them."""

__version__ = "0.1.0"

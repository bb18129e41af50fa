"""Pictures of figures, and pictures in a terminal."""

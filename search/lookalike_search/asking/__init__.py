"""An image is asked about: what was named becomes vectors, networks are searched, an answer comes out."""

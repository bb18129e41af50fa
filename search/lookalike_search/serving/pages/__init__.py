"""The pages of `search serve`: each module answers the addresses of one view."""

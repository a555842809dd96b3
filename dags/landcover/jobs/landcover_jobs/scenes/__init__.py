"""Finding and fetching satellite scenes, and reading them as blocks of a tile."""

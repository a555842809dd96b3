"""The layers of a map: mosaic, confidence, observation counts, change."""

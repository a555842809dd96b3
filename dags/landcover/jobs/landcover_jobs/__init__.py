"""The cluster side of the land-cover maps: what is run is in `steps`, what it is made of in the packages beside it."""

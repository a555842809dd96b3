"""From scenes to composites: cloud mask, medians of periods, filled gaps, statistics."""

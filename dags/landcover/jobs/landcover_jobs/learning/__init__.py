"""Training: the transformer, the trees, the folds they are judged on, their search and their export."""

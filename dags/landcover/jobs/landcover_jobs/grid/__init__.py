"""Where pixels lie: frames, tiles, blocks and folds."""

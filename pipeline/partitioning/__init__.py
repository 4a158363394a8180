"""Where a row lives: windows, device blocks, assignment and pruning; pure functions."""

"""Storage: layout, devices, block index, blocks, summaries, quarantine and transactions."""

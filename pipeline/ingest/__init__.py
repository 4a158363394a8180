"""The place of live streams: write-ahead log, reorder buffer, watermarks, backpressure."""

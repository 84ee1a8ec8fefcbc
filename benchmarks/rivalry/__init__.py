"""What `benchmarks.peers` compares: networks, methods, one cell, and the tables of the rows."""

"""The tables of the documentation, written from the rows under results/ by `python -m
benchmarks.tables`."""

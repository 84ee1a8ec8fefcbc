"""Trained networks beside the theory: what is recorded, fitted, forecast and certified."""

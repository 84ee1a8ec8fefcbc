"""Simulations that hold every estimator of `actprune.theory` against truths it does not know."""

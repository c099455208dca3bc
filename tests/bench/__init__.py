"""`make bench` measures the figures of the README; README.md beside this file explains them."""

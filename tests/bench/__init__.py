"""The figures of the README, measured: `make bench`. See README.md beside this file for what they mean."""

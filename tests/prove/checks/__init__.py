"""The checks of a run, in the order of the report."""

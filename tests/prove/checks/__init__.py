"""The checks of a run, in the order of the report; each names what it finds wrong."""

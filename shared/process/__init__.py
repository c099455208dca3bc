"""Settings and the command line of every process."""

"""The four services of Wafa; none imports another."""

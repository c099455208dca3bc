"""The tier of each customer over time: pure decisions on frozen values."""

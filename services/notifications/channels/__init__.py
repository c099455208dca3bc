"""The channels that leave Wafa: each sends one rendered message and returns the provider's answer."""

"""A sample to try Wafa with: a real grocer's year, and made-up events for what that year lacks."""

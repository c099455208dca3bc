"""A sample to try Wafa with: a real grocer's year, and a made-up part for what that grocer does not have."""

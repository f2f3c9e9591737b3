"""What would have been: two outcomes compared, and our pages joined with those that were sent. Pure functions."""

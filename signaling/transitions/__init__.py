"""What follows from each event: one function each, called through the table of `signaling.rooms`. Pure."""

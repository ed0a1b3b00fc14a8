"""See that a rewired network computes what it should, and what first does not."""

"""Videos that are sound, that are odd, and that are damaged; and what reading each of them comes to."""

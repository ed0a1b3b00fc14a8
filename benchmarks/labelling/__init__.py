"""Parts of `label_next.py`: its data sets, the work of a person that it counts, and what it tells."""

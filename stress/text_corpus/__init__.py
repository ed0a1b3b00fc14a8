"""What `stress/bad_text.py` reads: sound documents, ways to damage them, and the readers that get them."""

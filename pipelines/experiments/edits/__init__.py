"""What edits of a picture change that nobody asked."""

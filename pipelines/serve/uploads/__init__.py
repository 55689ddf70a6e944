"""What comes with an edit: its form, and the pictures in it."""

"""The test sets: each kind of list or folder, and how they are found."""

"""The study on real faces: questions, the runs that answer them, and the page of answers."""

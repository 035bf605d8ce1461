"""The study on real faces: questions, the trainings that answer them, and the page of answers."""

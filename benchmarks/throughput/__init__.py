"""Speed of training, from JPEG to weights; see __main__."""

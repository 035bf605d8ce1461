"""Films: decoded by OpenCV, and the faces of their frames joined to tracks."""

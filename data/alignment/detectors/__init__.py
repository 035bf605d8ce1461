"""What finds faces: MTCNN and YuNet."""

"""ONNX files as networks: this project's own exports, and those of anybody else."""

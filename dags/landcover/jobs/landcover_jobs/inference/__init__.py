"""Classifying with exported models, by onnxruntime, block by block."""

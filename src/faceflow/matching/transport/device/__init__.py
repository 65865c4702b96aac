"""Sinkhorn's algorithm on a device of PyTorch: a twin of the NumPy oracle, and one fused kernel.

Nothing here is imported before somebody asks for a device: PyTorch and Triton are optional.
"""

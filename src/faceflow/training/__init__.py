"""Fine-tuning of face networks on covered faces.

Two modes. :mod:`faceflow.training.head` trains the last layer alone on cached patch maps, in
NumPy: minutes on a laptop. :mod:`faceflow.training.network` trains a whole network in PyTorch
(extra ``train``). Either ends in a network of its own name in the model registry.
"""

"""The same gallery over many machines: shards that search and score, on Ray.

Only ``actors``, ``deployment`` and ``joining`` know of Ray. Shards, the merging of their answers
and what happens when one does not answer are plain objects, tested without it.
"""

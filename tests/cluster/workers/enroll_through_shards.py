"""Enroll faces one by one through the shards of a gallery on a cluster, and say each.

enroll_through_shards.py ADDRESS GALLERY FACES SEED
"""

import hashlib
import sys

import numpy as np

from faceflow.cluster.deployment import open_sharded
from faceflow.cluster.joining import joined
from faceflow.features import FaceFeatures, features_digest
from faceflow.gallery import Enrolment, GalleryLocation

address, location, faces, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = np.random.default_rng(seed)
features = FaceFeatures.from_maps(
    rng.standard_normal((faces, 32)),
    rng.standard_normal((faces, 16, 4, 4)),
    digest=features_digest("d1" * 32),
)
with joined(address), open_sharded(GalleryLocation(location), readonly=False) as gallery:
    for i in range(faces):
        content = hashlib.sha256(f"{seed}/{i}".encode()).hexdigest()
        report = gallery.enroll([Enrolment(f"Person {i % 9}", "x", content, features[i])])
        sys.stdout.write(f"{i} {report.added}\n")
        sys.stdout.flush()

"""From a photo to faces: images, detectors, landmarks and alignment."""

"""Who works on a signal and how far the work is, along the chain of an entity's detections."""

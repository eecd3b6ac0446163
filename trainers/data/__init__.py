"""Data sets, splits, two-stream batches, augmentation and normalisation. Import from the modules."""

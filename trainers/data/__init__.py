"""From image files to the batches on the device: data sets, splits, samplers, augmentation and normalisation."""

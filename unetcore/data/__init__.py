"""From archives to one canonical form: images, labels and frames of every dataset."""

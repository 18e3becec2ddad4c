"""Our functions against what people use instead, in one process."""

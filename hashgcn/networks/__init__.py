"""Networks: the trainable parts of the methods, each with its settings."""

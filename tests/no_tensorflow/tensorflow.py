"""Stands in the way of TensorFlow, as if it were not installed."""

raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

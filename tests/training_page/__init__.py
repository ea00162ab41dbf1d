"""Training in the page: what it computes, against NumPy, Keras and the library, and its panel, in a real browser."""

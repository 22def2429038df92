"""How uncertain a prediction is: a committee of models."""

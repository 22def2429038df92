"""Models as files: weights, description and card; the models that come with the package."""

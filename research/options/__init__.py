"""Whether the optional parts of the default network pay."""

"""Files of structures, and text."""

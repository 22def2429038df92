"""The log of refragmentation: what broke and formed, in memory and in files."""

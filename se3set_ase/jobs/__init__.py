"""Work on many molecules by many processes, which can be stopped and resumed."""

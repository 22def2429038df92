"""Other programs that move molecules: i-PI, torch-sim, and ASE's plugins."""

"""Interfaces to other programs: i-PI, torch-sim, and ASE's plugins."""

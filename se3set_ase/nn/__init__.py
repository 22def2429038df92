"""The networks: functions from tensors to energies."""

"""Simulation: what a memory policy and a size would have done for recorded or made-up traffic."""

"""Processes of the host that belong to a lab of machines: what a container of labctl's own does beside containers."""

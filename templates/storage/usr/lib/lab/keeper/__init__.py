"""Keeps the mounts of one lab's nodes where the lab file wants them, whoever is restarted or killed."""

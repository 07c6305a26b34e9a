"""Volumes of other nodes in a virtual machine: its kernel has the clients, these programs tell it what to do."""

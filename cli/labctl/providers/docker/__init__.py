"""Containers of a Docker engine on this host. Import `provider.Docker`; that loads the SDK."""

"""labctl: one YAML file becomes a running lab of containers and virtual machines."""

__version__ = "0.1.0"

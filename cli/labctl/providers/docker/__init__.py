"""Containers of a Docker engine on this host. Import `provider.Docker`; the SDK is loaded with its first change."""

import sys

# The SDK's way to engines over ssh, which labctl refuses, is more than half of what the SDK takes to load.
sys.modules.setdefault("docker.transport.sshconn", None)  # type: ignore[arg-type]

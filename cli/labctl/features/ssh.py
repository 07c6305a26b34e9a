"""sshd on every box node: a host key of its own, the lab's key for `lab`, keys only."""

from __future__ import annotations

from labctl.recipe import Entry, Facts, Probe, Recipe, Service

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"

_NO_PENALTIES = (
    # OpenSSH 9.8 and later lock a source out after some probes; earlier ones do not know the word.
    "if dpkg --compare-versions \"$(dpkg-query -Wf '${Version}' openssh-server)\" ge 1:9.8; then"
    " echo 'PerSourcePenalties no' > /etc/ssh/sshd_config.d/30-penalties.conf; fi"
)


def recipe() -> Recipe:
    """The same for every node."""
    return Recipe(
        packages=("openssh-server",),
        build=(
            "rm -f /etc/ssh/ssh_host_* /etc/update-motd.d/*",
            # Host keys are the node's own, put in before its first start.
            _NO_PENALTIES,
        ),
        services=(
            Service(
                name="sshd",
                command=("/usr/sbin/sshd", "-D", "-e"),
                prepare=(f"[ -s {HOST_KEY} ] || ssh-keygen -q -t ed25519 -N '' -f {HOST_KEY}",),
            ),
        ),
        probes=(
            Probe(
                name="ssh",
                description="ssh to answer",
                hint="see what the node logged with `labctl logs`",
                port=22,
                banner=b"SSH-2.0-",
                farewell=b"SSH-2.0-labctl\r\n",
            ),
        ),
    )


def seed(facts: Facts) -> tuple[Entry, ...]:
    """Host key and authorized keys; the latter outside the home directory, which a volume may hide."""
    keys = "".join(f"{key}\n" for key in facts.authorized_keys).encode()
    entries = [Entry("/etc/lab/authorized_keys/lab", keys, 0o644)]
    if facts.host_key:
        entries.append(Entry(HOST_KEY, facts.host_key, 0o600))
        entries.append(Entry(f"{HOST_KEY}.pub", facts.host_key_public, 0o644))
    return tuple(entries)

"""sshd on every box node: a host key that the node makes itself, the lab's key for `lab`, keys only."""

from __future__ import annotations

from labctl.recipe import Entry, Facts, Probe, Recipe, Service

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"

AUTHORIZED_KEYS = "/etc/lab/authorized_keys/lab"

SAYS_KEY = "ssh host key: "
"""Begins the line of the node's log that ends in its public host key; printed whenever sshd starts."""

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
            _NO_PENALTIES,
            ". /usr/lib/lab/services",
            "sshd_settings > /etc/lab/sshd.settings",
        ),
        services=(
            Service(
                name="sshd",
                command=("/usr/sbin/sshd", "-D", "-e"),
                prepare=(
                    f"[ -s {HOST_KEY}.pub ] || {{ rm -f {HOST_KEY}; ssh-keygen -q -t ed25519 -N '' -f {HOST_KEY}; }}",
                    f'read -r key < {HOST_KEY}.pub && echo "{SAYS_KEY}$key"',
                ),
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
    """The authorized keys, outside the home directory, which a volume may hide."""
    keys = "".join(f"{key}\n" for key in facts.authorized_keys).encode()
    return (Entry(AUTHORIZED_KEYS, keys, 0o644),)


def host_key(line: str) -> str | None:
    """The public host key (type and key, without a comment) when `line` of a node's log tells it, else None."""
    _, found, key = line.partition(SAYS_KEY)
    return public_key(key) if found else None


def public_key(text: str) -> str | None:
    """Type and key of an ed25519 public key as ssh-keygen writes it; None when it is none."""
    words = text.split()
    return " ".join(words[:2]) if len(words) >= 2 and words[0] == "ssh-ed25519" else None

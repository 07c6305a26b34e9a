"""The machines of a small example, as the Vagrantfile in a lab's own directory has them."""

from __future__ import annotations

from labctl.providers.vagrant.vagrantfile import Interface, Machine, Settings

SETTINGS = Settings(
    lab="shop",
    prefix="labctl-shop-",
    management="labctl-shop-_machines",
    management_subnet="10.201.9.0/24",
    key_file="/home/ana/.local/state/labctl/labs/shop/id_ed25519",
    emulated=False,
)


def machine(name: str, number: int, *, memory: int = 512, cpus: int = 1) -> Machine:
    """A machine on the network `lan`, and on `san`, which has no way out."""
    return Machine(
        name=name,
        box="labctl/debian-13-0123456789ab",
        box_file="/home/ana/.cache/labctl/boxes/debian-13-0123456789ab.box",
        memory=memory,
        cpus=cpus,
        labels=f'{{"labctl.lab": "shop", "labctl.name": "{name}"}}',
        key="AAAAC3NzaC1lZDI1NTE5AAAAIExampleOfAPublicKeyThatOpensNothing0000000000000",
        interfaces=(
            Interface(
                "labctl-shop-lan", f"10.201.4.{number}", 24, f"5254000000{number:02x}", f"lvlan{number}", "10.201.4.1"
            ),
            Interface("labctl-shop-san", f"10.201.5.{number}", 24, f"5254000001{number:02x}", f"lvsan{number}"),
        ),
        dns=("10.201.4.1",),
    )

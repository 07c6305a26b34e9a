"""A lab's machines as a Vagrantfile: readable, and enough for plain `vagrant` in the directory where it lies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_KERNEL = (
    "root=/dev/vda rw console=ttyS0 quiet loglevel=3 net.ifnames=0 mitigations=off audit=0 apparmor=0 selinux=0"
    " systemd.show_status=0"
)
_EMULATED = " nokaslr SYSTEMD_SECCOMP=0"
"""What costs time where the processor is emulated, and protects nobody in a lab."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One network of a machine. `gateway` is the way out, on one interface at most; `tap` is the host's end."""

    network: str
    address: str
    prefix: int
    mac: str
    tap: str
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that outlives the machine: a file of libvirt's pool, of `size` GiB, known in the machine by `serial`."""

    file: str
    size: int
    serial: str


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine. `labels` is what it is known again by, as text; `key` a public ssh key without its type."""

    name: str
    box: str
    box_file: str
    memory: int
    cpus: int
    labels: str
    key: str
    interfaces: tuple[Interface, ...] = ()
    dns: tuple[str, ...] = ()
    disks: tuple[Disk, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """What all machines of a lab have in common. `emulated` machines have no help of the processor."""

    lab: str
    prefix: str
    management: str
    management_subnet: str
    key_file: str
    emulated: bool
    emulator: str = ""


def render(settings: Settings, machines: Iterable[Machine]) -> str:
    """The whole file. The same machines give the same text."""
    return "\n".join(
        [*_head(settings), *(line for each in machines for line in _machine(each, settings.lab)), "end", ""]
    )


def kernel(*, emulated: bool) -> str:
    """What the kernel of every machine is started with."""
    return _KERNEL + (_EMULATED if emulated else "")


def kernel_words(machine: Machine, lab: str) -> str:
    """What a machine is told on its kernel's command line: who it is and where."""
    words = [f"lab.name={lab}", f"lab.node={machine.name}", f"lab.key={machine.key}"]
    for number, interface in enumerate(machine.interfaces, start=1):
        way = f",{interface.gateway}" if interface.gateway else ""
        words.append(f"lab.eth{number}={interface.address}/{interface.prefix}{way}")
    return " ".join([*words, *(f"lab.dns={each}" for each in machine.dns)])


def _head(settings: Settings) -> Iterator[str]:
    yield f"# The machines of lab {settings.lab}, written by labctl; `labctl up` writes anew what is changed here."
    yield "# Plain Vagrant works in this directory: `vagrant status`, `vagrant ssh NAME`."
    yield "#"
    yield "# Each machine learns its names and addresses from the kernel's command line, so that nothing has to log in"
    yield "# and configure it (auto_config: false). The first interface is Vagrant's own; it has no way out."
    yield f'KERNEL = "{kernel(emulated=settings.emulated)}"'
    yield ""
    yield 'Vagrant.configure("2") do |config|'
    yield "  config.vm.guest = :debian"
    yield "  config.vm.allow_fstab_modification = false"
    yield "  config.vm.allow_hosts_modification = false"
    yield '  config.vm.synced_folder ".", "/vagrant", disabled: true'
    yield "  config.vm.boot_timeout = 300"
    yield '  config.ssh.username = "lab"'
    yield "  config.ssh.insert_key = false"
    yield f"  config.ssh.private_key_path = {_quoted(settings.key_file)}"
    yield "  config.vm.provider :libvirt do |libvirt|"
    for name, value in _common(settings):
        yield f"    libvirt.{name} = {value}"
    yield '    libvirt.disk_driver :cache => "unsafe"'
    yield "  end"


def _common(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "default_prefix", _quoted(settings.prefix)
    yield "driver", _quoted("qemu" if settings.emulated else "kvm")
    if settings.emulated:
        yield "cpu_mode", _quoted("custom")
        yield "cpu_model", _quoted("qemu64")
    else:
        yield "cpu_mode", _quoted("host-passthrough")
    if settings.emulator:
        yield "emulator_path", _quoted(settings.emulator)
    yield "machine_type", _quoted("q35")
    yield "graphics_type", _quoted("none")
    yield "memballoon_enabled", "false"
    yield "management_network_name", _quoted(settings.management)
    yield "management_network_address", _quoted(settings.management_subnet)
    yield "management_network_mode", _quoted("none")
    yield "management_network_keep", "true"


def _machine(machine: Machine, lab: str) -> Iterator[str]:
    yield ""
    yield f"  config.vm.define {_quoted(machine.name)} do |node|"
    yield f"    node.vm.box = {_quoted(machine.box)}"
    yield f"    node.vm.box_url = {_quoted('file://' + machine.box_file)}"
    for interface in machine.interfaces:
        yield f"    node.vm.network {', '.join(_network(interface))}"
    yield "    node.vm.provider :libvirt do |libvirt|"
    yield f"      libvirt.memory = {machine.memory}"
    yield f"      libvirt.cpus = {machine.cpus}"
    console = f"File.join(__dir__, {_quoted(machine.name + '.console')})"
    yield f'      libvirt.serial type: "file", source: {{ path: {console} }}'
    for disk in machine.disks:
        yield f"      libvirt.storage :file, {', '.join(_disk(disk))}"
    yield f"      libvirt.description = {_quoted(machine.labels)}"
    yield "      libvirt.cmd_line = [KERNEL, *%w["
    for word in kernel_words(machine, lab).split():
        yield f"        {word}"
    yield '      ]].join(" ")'
    yield "    end"
    yield "  end"


def _network(interface: Interface) -> Iterator[str]:
    yield ":private_network"
    yield f"ip: {_quoted(interface.address)}"
    yield f"netmask: {_quoted(_mask(interface.prefix))}"
    yield f"libvirt__network_name: {_quoted(interface.network)}"
    yield f"mac: {_quoted(interface.mac)}"
    yield f"libvirt__iface_name: {_quoted(interface.tap)}"
    yield "libvirt__dhcp_enabled: false"
    yield "libvirt__always_destroy: false"
    yield "auto_config: false"


def _disk(disk: Disk) -> Iterator[str]:
    yield f"path: {_quoted(disk.file)}"
    yield f"size: '{disk.size}G'"
    yield "type: 'qcow2'"
    yield f"serial: {_quoted(disk.serial)}"
    yield "cache: 'writeback'"
    yield "allow_existing: true"


def _mask(prefix: int) -> str:
    bits = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
    return ".".join(str(bits >> shift & 255) for shift in (24, 16, 8, 0))


def _quoted(text: str) -> str:
    """`text` as a string of Ruby's in which nothing is replaced."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

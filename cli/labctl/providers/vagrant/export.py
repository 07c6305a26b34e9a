"""A lab's machines as a Vagrantfile that stands alone: for plain `vagrant`, on a host where labctl need not be.

Nothing in it is labctl's own: it makes its networks and its key, and what a machine is told is a provisioning step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from labctl.providers.vagrant.ruby import content, word
from labctl.providers.vagrant.vagrantfile import Interface, Machine, kernel, kernel_words
from labctl.recipe import Entry

OURS = "libvirt"
"""The one of Vagrant's providers that labctl's boxes are made for."""

_PUT = r"""
# Shell lines that put files (path, mode, owner, content) into a machine.
def put(files)
  files.map do |path, mode, owner, text|
    user, group = owner.split(":")
    "base64 -d <<'END' | install -D -m #{mode} -o #{user} -g #{group} /dev/stdin #{Shellwords.escape(path)}\n" \
      "#{[text].pack('m')}END\n"
  end.join
end
""".strip("\n")

_KEY = r"""
# The key that opens the machines is made here, the first time.
KEY_FILE = File.join(__dir__, ".vagrant", "lab_ed25519")
unless File.exist?("#{KEY_FILE}.pub")
  FileUtils.mkdir_p(File.dirname(KEY_FILE))
  system("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vagrant", "-f", KEY_FILE, exception: true)
end
KEY = File.read("#{KEY_FILE}.pub").split[1]
""".strip("\n")


@dataclass(frozen=True, slots=True)
class Setting:
    """What all machines of a lab have in common. `management` is the subnet of Vagrant's own way to them."""

    lab: str
    management: IPv4Network
    emulated: bool
    emulator: str = ""
    internal: frozenset[str] = frozenset()
    """The networks without a way out."""


@dataclass(frozen=True, slots=True)
class Exported:
    """One machine, and what only another of Vagrant's providers has to be told: a box of its own, packages, users.

    `provider` is Vagrant's own; `files` are put into the machine when it is made, and `steps` (shell lines) follow.
    `suite` is the release of its operating system.
    """

    machine: Machine
    files: tuple[Entry, ...] = ()
    steps: tuple[str, ...] = ()
    provider: str = OURS
    suite: str = ""


def render(setting: Setting, machines: Iterable[Exported]) -> str:
    """The whole file. The same lab gives the same text."""
    made = tuple(machines)
    ours = any(each.provider == OURS for each in made)
    lines = [*_head(setting, ours=ours)]
    for each in made:
        lines += ["", *(_machine(each, setting) if each.provider == OURS else _foreign(each, setting))]
    return "\n".join([*lines, "end", ""])


def _head(setting: Setting, *, ours: bool) -> Iterator[str]:
    yield f"# The machines of lab {setting.lab}, written by `labctl export vagrant`."
    yield "# Plain Vagrant runs them from here: `vagrant up`, `vagrant ssh NAME`, `vagrant destroy`."
    yield 'require "fileutils"'
    yield 'require "shellwords"'
    yield ""
    if ours:
        yield from _KEY.splitlines()
        yield ""
        yield "# Each machine learns its names and addresses from the kernel's command line: nothing has to log in and"
        yield "# configure it (auto_config: false). The first interface is Vagrant's own; it has no way out."
        yield f'KERNEL = "{kernel(emulated=setting.emulated)}"'
        yield ""
    yield from _PUT.splitlines()
    yield ""
    yield 'Vagrant.configure("2") do |config|'
    yield '  config.vm.synced_folder ".", "/vagrant", disabled: true'
    yield "  config.vm.boot_timeout = 300"
    if not ours:
        return
    yield "  config.vm.provider :libvirt do |libvirt|"
    yield f"    libvirt.default_prefix = {word(f'{setting.lab}-')}"
    yield f"    libvirt.driver = {word('qemu' if setting.emulated else 'kvm')}"
    yield f"    libvirt.cpu_mode = {word('custom' if setting.emulated else 'host-passthrough')}"
    if setting.emulated:
        yield f"    libvirt.cpu_model = {word('qemu64')}"
    if setting.emulator:
        yield f"    libvirt.emulator_path = {word(setting.emulator)}"
    yield "    libvirt.machine_type = 'q35'"
    yield "    libvirt.graphics_type = 'none'"
    yield "    libvirt.memballoon_enabled = false"
    yield f"    libvirt.management_network_name = {word(f'{setting.lab}-vagrant')}"
    yield f"    libvirt.management_network_address = {word(str(setting.management))}"
    yield "    libvirt.management_network_mode = 'none'"
    yield "  end"


def _machine(each: Exported, setting: Setting) -> Iterator[str]:
    """A machine of labctl's own box: its kernel lies in the box, and everything of its recipe is on its disk."""
    machine = each.machine
    yield f"  config.vm.define {word(machine.name)} do |node|"
    yield f"    node.vm.box = {word(machine.box)}"
    yield f"    node.vm.box_url = {word('file://' + machine.box_file)}"
    yield "    node.vm.guest = :debian"
    yield "    node.vm.allow_fstab_modification = false"
    yield "    node.vm.allow_hosts_modification = false"
    yield "    node.ssh.username = 'lab'"
    yield "    node.ssh.insert_key = false"
    yield "    node.ssh.private_key_path = KEY_FILE"
    for interface in machine.interfaces:
        mode = "none" if interface.network in setting.internal else "nat"
        yield (
            f"    node.vm.network :private_network, {_address(interface)},"
            f" libvirt__network_name: {word(f'{setting.lab}-{interface.network}')},"
            f" libvirt__forward_mode: {word(mode)}, libvirt__dhcp_enabled: false, auto_config: false"
        )
    yield "    node.vm.provider :libvirt do |libvirt|"
    yield f"      libvirt.memory = {machine.memory}"
    yield f"      libvirt.cpus = {machine.cpus}"
    yield "      libvirt.cmd_line = [KERNEL, *%W["
    for item in kernel_words(machine, setting.lab).split():
        yield f"        {'lab.key=#{KEY}' if item.startswith('lab.key=') else item}"
    yield '      ]].join(" ")'
    yield "    end"
    yield from _told(each)
    yield "  end"


def _foreign(each: Exported, setting: Setting) -> Iterator[str]:
    """A machine of another of Vagrant's providers: a plain box of the same release, the rest by provisioning."""
    machine = each.machine
    yield "  # Untested: labctl itself runs machines with libvirt. The box is one of its provider's own, or yours."
    yield f"  config.vm.define {word(machine.name)} do |node|"
    yield f"    node.vm.box = {word(f'debian/{each.suite}64')}"
    yield f"    node.vm.hostname = {word(machine.name)}"
    for interface in machine.interfaces:
        apart = f", virtualbox__intnet: {word(f'{setting.lab}-{interface.network}')}"
        only = apart if each.provider == "virtualbox" and interface.network in setting.internal else ""
        yield f"    node.vm.network :private_network, {_address(interface)}{only}"
    yield f"    node.vm.provider {word(each.provider)} do |machine|"
    if each.provider.startswith("vmware"):
        yield f'      machine.vmx["memsize"] = "{machine.memory}"'
        yield f'      machine.vmx["numvcpus"] = "{machine.cpus}"'
    else:
        yield f"      machine.memory = {machine.memory}"
        yield f"      machine.cpus = {machine.cpus}"
    yield "    end"
    yield from _told(each)
    yield "  end"


def _told(each: Exported) -> Iterator[str]:
    yield '    node.vm.provision "shell", name: "lab", inline: "set -e\\n" + put(['
    for entry in each.files:
        yield f'      [{word(entry.path)}, "{entry.mode:o}", "{entry.uid}:{entry.gid}", {content(entry.content)}],'
    yield "    ]) + <<~'END'"
    for step in each.steps:
        yield from (f"      {line}" for line in step.splitlines())
    yield "    END"


def _address(interface: Interface) -> str:
    mask = IPv4Network((0, interface.prefix)).netmask
    return f"ip: {word(interface.address)}, netmask: {word(str(mask))}"

"""Every error has a code that stays the same: what each means and what to do, for `labctl explain` and the docs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a code stands for: `title` says it in one line, `text` what to do."""

    code: str
    title: str
    text: str

    @property
    def area(self) -> str:
        """The word of the code: NET of LAB-NET-001."""
        return self.code.split("-")[1]


AREAS = {
    "GEN": "General",
    "USE": "Command line",
    "FILE": "Lab file",
    "LAB": "Labs",
    "BUSY": "Busy",
    "FIND": "Names",
    "UP": "Coming up",
    "WAIT": "Waiting",
    "NODE": "Nodes",
    "NET": "Networks",
    "VOL": "Volumes",
    "SNAP": "Snapshots",
    "IMG": "Images and boxes",
    "VM": "Virtual machines",
    "HOST": "Host and engine",
    "RUN": "Commands in nodes",
    "COPY": "Copying",
    "VNC": "Desktops",
    "CHECK": "Checks",
    "CI": "Jobs",
}
"""The areas of codes, in the order of the docs. Numbers are given once and never again."""

_TEXTS = """\
LAB-GEN-001 Something failed that has no code of its own
  The message and the lines below it say what. `labctl why` shows what is known of the lab's nodes.
LAB-USE-001 The command line asks for something that cannot be
  `labctl COMMAND --help` shows what the command takes.
LAB-USE-002 A question was not answered with yes
  Nothing was changed. In scripts, `--yes` answers for you.
LAB-USE-003 A file of this host cannot be read or written
  The operating system's own words follow. Look at the path, its owner and the room on its disk.
LAB-FILE-001 The lab file does not say what a lab may say
  Every problem is shown with its line. `labctl validate` shows them again, `labctl schema` is the whole language.
LAB-FILE-002 No lab file was found
  Commands look for lab.yaml in the working directory and above. `-f` names a file, `-n` a lab that is up, `labctl
  init` writes a new file.
LAB-FILE-003 The lab file cannot be read
  It is too large, not a file, or not yours to read.
LAB-FILE-004 It is not known which file a lab was made from
  The lab's directory is gone, or it came up under another name. Name the file with `-f`.
LAB-LAB-001 There is no such lab on this host
  `labctl ls` shows those that are there.
LAB-LAB-002 Another lab has this name already
  Names are unique on a host. Give one of the two another `name`, or take the other down.
LAB-LAB-003 More than one lab was made from this directory
  Say which one is meant with `--name`.
LAB-LAB-004 The lab file asks for what this version does not run
  Bring up the nodes that need none of it, or use a later version.
LAB-LAB-005 The lab's directory is gone, and with it its keys and passwords
  The nodes run on. `labctl up` makes new keys and passwords and puts them into the nodes.
LAB-LAB-006 Not all of a lab could be removed
  What is left is named. `labctl down` may be repeated at any time; `labctl gc` finds it later.
LAB-BUSY-001 Another labctl works on the same lab
  It is named, with its process. Wait for it or end it; a lock is never left behind.
LAB-BUSY-002 Another job has this lab
  Give each job a lab of its own with `labctl ci --name auto`.
LAB-FIND-001 There is nothing of this name
  The nearest name is shown where there is one.
LAB-FIND-002 The lab has no such node
  `labctl status` lists the nodes.
LAB-FIND-003 The lab file has no such check
  `labctl config` shows the checks.
LAB-FIND-004 There is no such box
  `labctl box list` shows those that are known.
LAB-UP-001 The lab is only partly up
  Nodes that do not wait for the failed ones run. Each failed step is told with its reason; `labctl why NODE`
  shows more, the next `labctl up` goes on.
LAB-WAIT-001 Something did not come in time
  The message says what was waited for. `labctl why` shows what the probe said last; `--timeout` gives more time.
LAB-WAIT-002 Not all nodes are ready in time
  The nodes run, and something in them is not ready. `labctl why NODE` says what.
LAB-WAIT-003 A command did not end in time
  It was ended. Give it more time, or see what it waits for.
LAB-WAIT-004 The job's time is over
  `labctl ci --timeout` is the time for the whole. What was under way is named; the report has the logs.
LAB-NODE-001 A node does not run
  `labctl start NODE` starts it as it was; `labctl logs NODE` says why it ended.
LAB-NODE-002 A node cannot become ready: it ended
  Its last lines are shown. `labctl logs NODE` has all of them.
LAB-NODE-003 A node's healthcheck fails
  What it said last is shown. Mend what it asks for, or give it more `retries`.
LAB-NODE-004 A node is started again and again
  It ends each time. One that is to run once is waited for with `condition: completed`.
LAB-NODE-005 A node could not be configured
  A package, file, user or run step failed; its last lines are shown, all of them are in `labctl logs NODE --run`.
LAB-NODE-006 A service of a node does not stay up
  It ends again and again. Mend its `command`, or let the node wait with `depends_on`.
LAB-NODE-007 The container of a node is not what labctl made
  Somebody removed it, or another has its name. `labctl up` makes it anew.
LAB-NODE-008 A node is on no network
  Give it one with `networks:`; without, `labctl exec` works and ssh does not.
LAB-NET-001 Something that the lab asks for is taken
  The message names the subnet, port or name.
LAB-NET-002 A subnet overlaps one that this host uses
  Give the network another `subnet`, or leave it out to have a free one chosen. `labctl doctor` shows what is
  taken.
LAB-NET-003 No free subnet is left
  Take labs down that are not needed (`labctl ls`), or give the network a `subnet`.
LAB-NET-004 A port of this host is in use
  Leave the host's port out (`ports: ["80"]`) to have a free one chosen, or stop what listens there.
LAB-NET-005 A network has no address left
  Give it a larger `subnet`.
LAB-NET-006 An address is in use already
  Another container or machine on that network has it. `labctl up` after it is gone, or another address in the
  file.
LAB-NET-007 A network of the lab is not as it was made
  Somebody changed it, or something else is on it. `labctl down` and `labctl up` make it anew.
LAB-NET-008 A port of a node does not answer
  Nothing listens there, or only on the node's own 127.0.0.1.
LAB-VOL-001 A volume is still in use
  The message names by whom: take it out of the lab file and run `labctl up`, or see what container of others has it.
LAB-VOL-002 What a volume holds does not fit what is asked of it
  A volume does not shrink and does not change its type. Keep it, or give its data up: `labctl volume remove`.
LAB-VOL-003 A volume is not mounted where it belongs
  The message names the layer that refuses. `labctl status --storage` shows how all stand.
LAB-SNAP-001 A snapshot could not be taken or brought back
  The message says what failed. What was saved so far is given up; what was half brought back is noted, and the same
  `labctl snapshot restore` may be repeated.
LAB-SNAP-002 There is no such snapshot
  `labctl snapshot list` shows those of the lab.
LAB-SNAP-003 A snapshot does not fit the lab as it is
  The name is taken, part of it is missing, or the lab file has changed too much since. Nothing was changed.
LAB-SNAP-004 Bringing back a snapshot was interrupted
  Part of the lab is from then, part is not. Repeat the `labctl snapshot restore`, or take the lab down.
LAB-IMG-001 An image could not be made
  The builder's last lines are shown; `labctl up -v` shows all.
LAB-IMG-002 An image is not there
  Its name is wrong, or no registry that is reached has it.
LAB-IMG-003 The image registry cannot be reached
  Base images of boxes are then made from packages; an `image:` has to be in the engine already (`docker load`).
LAB-IMG-004 An image is in use
  Take down the labs that use it first.
LAB-IMG-005 This host cannot make base images
  A program or a right is missing: `labctl doctor --fix`.
LAB-IMG-006 An operating system has no virtual machines
  Its box names no kernel. Take another box, or a container.
LAB-IMG-007 A box's file is not what it should be
  Another digest than the one asked for, or damaged, or not made by labctl. Nothing of it was kept.
LAB-VM-001 This host cannot run virtual machines
  Vagrant, vagrant-libvirt, libvirt or qemu is missing or does not run, or is not yours to use: `labctl doctor`.
LAB-VM-002 Vagrant or libvirt gave no answer in time
  Look at the host's load and at libvirt's own log, then try again: every command may be repeated.
LAB-VM-003 Vagrant or libvirt refused
  Their last words are shown.
LAB-VM-004 A virtual machine does not answer over ssh
  It may be starting or hang. `labctl logs NODE` shows its journal, or the end of its console.
LAB-VM-005 A virtual machine did not come to its feet
  How far it came and its console's last lines are shown.
LAB-HOST-001 This host cannot do what the lab needs
  `labctl doctor` says what it can and cannot do.
LAB-HOST-002 The container engine does not run or answer
  `labctl doctor --fix` installs and starts it.
LAB-HOST-003 No permission to use the container engine
  Be root or a member of the group docker: `labctl doctor --fix` sees to it.
LAB-HOST-004 The engine is one whose nodes cannot be reached
  labctl reaches nodes at their addresses, so it needs the engine of this Linux host itself.
LAB-HOST-005 The disk is full
  `labctl gc --images` and `docker system df` show what can go.
LAB-HOST-006 The engine broke off or gave no answer in time
  Look at its load and its log, then try again: every command may be repeated.
LAB-HOST-007 The engine cannot give what a node asks for
  A capability or device is not available on this host.
LAB-HOST-008 Something on the engine has the name, and is not labctl's
  labctl touches only what carries its labels. Rename the lab, or remove the other thing yourself.
LAB-HOST-009 What is missing on this host could not be installed
  The package manager's words follow.
LAB-HOST-010 A process of this host that belongs to a lab of virtual machines does not do what it shall
  It carries their ports, or their desktops. `labctl up` starts it again; its log lies in the lab's directory.
LAB-RUN-001 The node has no such command, or cannot execute it
  As a shell would say it: 127 is not found, 126 not executable.
LAB-RUN-002 A command could not be run in a node
  The user or the directory is not there, or its output broke off.
LAB-RUN-003 A user cannot log in by ssh
  Only `lab` and users with `ssh_keys` in the file can.
LAB-RUN-004 This host has no ssh client
  `sudo apt install openssh-client`; `labctl exec` works without.
LAB-RUN-005 A command in a node ended with another exit code than 0
  Its last lines are shown. In Python, `run(…, check=False)` returns the result instead.
LAB-COPY-001 What is to be copied is not there
  Look at the path: in a node it begins with `NODE:`.
LAB-COPY-002 A file cannot be copied
  No permission, or the stream broke off; what was copied before stays.
LAB-COPY-003 A node sent files that would land outside of the target
  Nothing was written there. Nodes are not trusted with paths of this host.
LAB-VNC-001 There is no desktop
  `desktop: true` gives a node one.
LAB-VNC-002 The gateway of the lab does not run
  `labctl up` starts it.
LAB-VNC-003 A desktop gave no picture
  It does not answer, refused the password, or speaks no VNC. `labctl why NODE` says whether it is drawn.
LAB-VNC-004 This host has not what shows the desktops of virtual machines
  A lab without containers has its gateway on the host itself. `labctl doctor --fix -f FILE` installs what is missing.
LAB-CHECK-001 A check does not hold
  What its last attempt said is shown. `labctl test CHECK` tries one alone.
LAB-CI-001 The job was ended by a signal
  The lab was taken down and the report written all the same.
LAB-CI-002 labctl itself failed
  This is a bug in labctl; the report has what is known.
"""


def _read(block: str) -> Explanation:
    first, *rest = block.splitlines()
    code, _, title = first.partition(" ")
    return Explanation(code, title, " ".join(line.strip() for line in rest))


CODES = {
    each.code: each for each in (_read(block) for block in _TEXTS.rstrip().replace("\nLAB-", "\n\0LAB-").split("\0"))
}


def by_area() -> Iterator[tuple[str, list[Explanation]]]:
    """The areas with their codes."""
    for area, title in AREAS.items():
        yield title, [each for each in CODES.values() if each.area == area]


def markdown() -> str:
    """The page of all codes, `docs/errors.md`."""
    parts = [
        "# Errors",
        "Written by `labctl explain --markdown`. Every error that labctl reports has a code, which stays the same; "
        "`labctl explain CODE` prints what stands here.",
    ]
    for title, codes in by_area():
        parts.append(f"## {title}")
        parts += [f"**{each.code}** {each.title}\n\n{each.text}" for each in codes]
    return "\n\n".join(parts) + "\n"

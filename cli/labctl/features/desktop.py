"""A desktop on a box node: an X server that speaks VNC, a window manager, and the programs a person starts with."""

from __future__ import annotations

from collections.abc import Mapping

from labctl.features.base import LAB_UID, shipped
from labctl.features.vncauth import password_file
from labctl.model.lab import Desktop, WindowManager
from labctl.recipe import Entry, Facts, Probe, Recipe, Service

VNC_PORT = 5901

_PACKAGES = (
    "dbus-daemon",
    "dbus-x11",
    "fonts-dejavu-core",
    "librsvg2-common",
    "mousepad",
    "tigervnc-standalone-server",
    "x11-utils",
    "xclip",
)

_MANAGER_PACKAGES: Mapping[WindowManager, tuple[str, ...]] = {
    "icewm": ("hsetroot", "icewm", "lxterminal", "pcmanfm"),
    "openbox": ("hsetroot", "lxterminal", "openbox", "pcmanfm", "tint2", "xdotool"),
    "xfce": ("thunar", "xfce4-panel", "xfce4-settings", "xfce4-terminal", "xfdesktop4", "xfwm4"),
}

_EXCLUDED = (
    "libLLVM*",
    "libgallium*",
    "libz3*",
    "dri/*",
)
"""The parts of Mesa that draw in three dimensions: 170 MB of an image that has no such hardware."""

_READY = "[ -S /tmp/.X11-unix/X1 ] && [ -S /run/lab/bus ]"
_ENVIRONMENT = (
    ("DISPLAY", ":1"),
    ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/lab/bus"),
    ("XDG_RUNTIME_DIR", "/run/lab/user"),
    ("NO_AT_BRIDGE", "1"),
)


def recipe(desktop: Desktop) -> Recipe:
    """The same for every desktop with this window manager; geometry is the node's own (see `seed`)."""
    excludes = "".join(f"path-exclude=/usr/lib/*-linux-gnu/{pattern}\\n" for pattern in _EXCLUDED)
    return Recipe(
        prepare=(f"printf '{excludes}' > /etc/dpkg/dpkg.cfg.d/lab-desktop",),
        packages=tuple(sorted((*_PACKAGES, *_MANAGER_PACKAGES[desktop.wm]))),
        files=(*shipped("desktop", "all"), *shipped("desktop", desktop.wm)),
        build=("fc-cache -f", "gtk-update-icon-cache -qf /usr/share/icons/hicolor"),
        services=(
            Service(name="xvnc", command=("/usr/lib/lab/xvnc",), user="lab"),
            Service(
                name="bus",
                command=("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path=/run/lab/bus"),
                user="lab",
                prepare=("rm -f /run/lab/bus", "install -d -o lab -g lab -m 700 /run/lab/user", "chown lab: /run/lab"),
            ),
            *(_session(name, command) for name, command in _programs(desktop.wm)),
        ),
        probes=(
            Probe(
                name="vnc",
                description="the X server to answer",
                hint="see what it logged with `labctl logs`",
                port=VNC_PORT,
                banner=b"RFB 003.008",
            ),
            Probe(
                name="desktop",
                description="the desktop to be drawn",
                hint="see what the window manager logged with `labctl logs`",
                script="/usr/lib/lab/desktop-drawn",
            ),
        ),
    )


def seed(facts: Facts) -> tuple[Entry, ...]:
    """The VNC passwords, to work and to look only, readable by the X server alone."""
    content = password_file(facts.vnc_password, facts.vnc_view_password)
    return (Entry("/etc/lab/vnc/passwd", content, 0o600, LAB_UID, LAB_UID),)


def _session(name: str, command: tuple[str, ...]) -> Service:
    return Service(
        name=name, command=command, user="lab", after=("xvnc", "bus"), wait_for=_READY, environment=_ENVIRONMENT
    )


def _programs(wm: WindowManager) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What runs in the session, each restarted by itself when it dies."""
    background = ("background", ("/usr/lib/lab/background",))
    if wm == "icewm":
        return (background, ("wm", ("icewm",)))
    if wm == "openbox":
        return (background, ("wm", ("openbox",)), ("panel", ("tint2",)))
    return (
        ("settings", ("xfsettingsd", "--disable-wm-check")),
        ("wm", ("xfwm4", "--compositor=off")),
        ("desktop", ("/usr/lib/lab/xfce-background",)),
        ("panel", ("xfce4-panel", "--disable-wm-check")),
    )

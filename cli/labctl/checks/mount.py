"""The kind `mount`: a share or disk is mounted, and takes what is written."""

from __future__ import annotations

from labctl.checks.attempt import Attempt, Finding, of_tool

# The kernel writes a blank in a path as \040, which `printf %b` reads back.
_MOUNTED = """
mounted=
while read -r device target kind options rest; do
    [ "$(printf '%b' "$target")" = "$1" ] && mounted="$kind" how="$options"
done </proc/self/mounts
[ -n "$mounted" ] || { echo "nothing is mounted on $1" >&2; exit 1; }
if [ "$2" = ro ]; then
    ls "$1" >/dev/null || exit 1
    echo "$mounted is mounted, to be read only"
    exit 0
fi
[ -d "$1" ] || { [ -w "$1" ] && echo "$mounted is mounted"; exit; }
case ",$how," in *,ro,*) echo "$mounted is mounted, and nothing can be written to it" >&2; exit 1;; esac
probe="$1/.labctl-check-$$"
echo "$$ written" >"$probe" || { rm -f "$probe"; exit 1; }
read -r back <"$probe"
rm -f "$probe" || exit 1
[ "$back" = "$$ written" ] || { echo "what was written to $1 did not come back" >&2; exit 1; }
echo "$mounted is mounted and can be written to"
"""


def mount(attempt: Attempt) -> Finding:
    """Something is mounted at the path itself; a file written there comes back, unless it is read-only."""
    access = "ro" if attempt.node in attempt.check.read_only else "rw"
    return of_tool(attempt, attempt.in_node(["sh", "-c", _MOUNTED, "sh", str(attempt.check.subject), access]))

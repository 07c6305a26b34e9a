"""An export in two nodes at once: whose files they are, what each sees of the other, what a client has to get right."""

from __future__ import annotations

import pytest

from tests.storage.rig import Rig

pytestmark = pytest.mark.engine

LAB = "1000:1000"
HOME = "/home/shared"

# The same done by chance to a file here and to one on the node's own disk: what is read and how long they are.
TWINS = r"""
use Fcntl; use IO::Handle;
my ($place, $seed) = @ARGV; my @path = ("$place/twin", "/tmp/twin"); my @file; my $at = 0; srand $seed;
sub both(&) {
    my $what = shift; my @got = map { local $_ = $_; $what->($_) } 0, 1;
    $got[0] eq $got[1] or die "they differ\n";
}
sub opened { for (0, 1) { close $file[$_] if $file[$_]; sysopen $file[$_], $path[$_], O_RDWR | O_CREAT or die $! } }
opened();
for my $n (1 .. 6000) {
    $at = int rand 300000 if rand() < 0.05;
    my ($chance, $size) = (rand, 1 + int rand(rand() < 0.1 ? 70000 : 5000));
    if ($chance < 0.75) {
        my $bytes = pack("N", $n) x ($size / 4 + 1);
        both { sysseek $file[$_], $at, 0; syswrite $file[$_], $bytes };
        $at += length $bytes;
    } elsif ($chance < 0.85) {
        both { my $got = ""; sysseek $file[$_], int($at / 2), 0; sysread $file[$_], $got, $size; $got };
    } elsif ($chance < 0.92) { both { -s $path[$_] }
    } elsif ($chance < 0.95) { both { truncate $file[$_], $at }
    } elsif ($chance < 0.97) { both { $file[$_]->sync }
    } elsif ($chance < 0.98) { both { open my $end, ">>", $path[$_]; print $end "more$n"; close $end; -s $path[$_] }
    } else { opened() }
}
close $_ for @file;
exec "cmp", @path;
"""


@pytest.fixture(autouse=True)
def own_directory(lab: Rig) -> None:
    """An empty directory ``w`` in the export, the lab user's."""
    lab.sh("one", f"rm -rf {HOME}/w; mkdir {HOME}/w; chown {LAB} {HOME}/w")


def test_files_have_their_owners_on_both_sides(lab: Rig) -> None:
    lab.sh("one", f"umask 022; cd {HOME}/w; echo hello > a; mkdir d; ln -s a link; ln a second; chmod 640 a", user=LAB)
    seen = lab.sh("two", f"cd {HOME}/w; stat -c '%n %u:%g %a %h' a d; readlink link; cat second")
    assert seen.splitlines() == ["a 1000:1000 640 2", "d 1000:1000 755 2", "a", "hello"]
    assert lab.sh("nas", "stat -c '%u:%g %a' /srv/home/w/a").strip() == "1000:1000 640"


def test_a_request_is_its_callers(lab: Rig) -> None:
    lab.sh("one", f"cd {HOME}/w; echo secret > mine; chmod 600 mine", user=LAB)
    assert "denied" in lab.sh("two", f"cat {HOME}/w/mine 2>&1", user="1001:1001", check=False)
    lab.sh("two", f"touch {HOME}/w/root; chown 1000:2000 {HOME}/w; chmod 770 {HOME}/w")
    assert lab.sh("two", f"stat -c %u:%g {HOME}/w/root").strip() == "0:0"
    assert "denied" in lab.sh("two", f"touch {HOME}/w/other 2>&1", user="1001:1001", check=False)
    # A group that is not the caller's first one counts too.
    lab.sh("two", f"setpriv --reuid 1001 --regid 1001 --groups 2000 touch {HOME}/w/grouped")
    assert lab.sh("one", f"stat -c %u:%g {HOME}/w/grouped").strip() == "1001:1001"
    # Where the server squashes root, root is the lab user there.
    assert lab.sh("one", "touch /mnt/safe/r; stat -c %u:%g /mnt/safe/r; rm /mnt/safe/r").strip() == LAB


def test_what_one_wrote_another_reads(lab: Rig) -> None:
    wrote = lab.sh("one", f"cd {HOME}/w; head -c 30000000 /dev/urandom > big; sha256sum < big", user=LAB)
    assert lab.sh("two", f"sha256sum < {HOME}/w/big") == wrote
    # Rewritten in place, of the same length: what was cached is not believed once the file is opened anew.
    lab.sh("two", f"dd if=/dev/urandom of={HOME}/w/big bs=64k count=1 seek=3 conv=notrunc 2> /dev/null")
    assert lab.sh("one", f"sha256sum < {HOME}/w/big") == lab.sh("nas", "sha256sum < /srv/home/w/big")


def test_lines_appended_by_turns_are_all_there(lab: Rig) -> None:
    for number in range(4):
        lab.sh("one", f"cat {HOME}/w/log > /dev/null; echo one{number} >> {HOME}/w/log", user=LAB, check=False)
        lab.sh("two", f"echo two{number} >> {HOME}/w/log", user=LAB)
    expected = [f"{node}{number}" for number in range(4) for node in ("one", "two")]
    assert lab.sh("nas", "cat /srv/home/w/log").split() == expected


def test_many_files_are_listed_once_each(lab: Rig) -> None:
    lab.sh("one", f"cd {HOME}/w; for i in $(seq 1500); do : > file-with-a-longer-name-$i; done", user=LAB)
    assert lab.sh("two", f"ls {HOME}/w | sort -u | wc -l; find {HOME}/w -type f | wc -l").split() == ["1500", "1500"]
    lab.sh("two", f"rm {HOME}/w/file*; rmdir {HOME}/w", user="0")
    assert "w" not in lab.sh("one", f"sleep 1.1; ls {HOME}").split()


def test_an_open_file_outlives_its_name(lab: Rig) -> None:
    script = f"""cd {HOME}/w
        echo kept > f; exec 3< f 4>> f; rm f; [ ! -e f ] || exit 1; echo more >&4; cat <&3
        echo new > g; exec 5< g; echo x > h; mv h g; cat <&5; cat g"""
    assert lab.sh("one", script, user=LAB).split() == ["kept", "more", "new", "x"]
    assert lab.sh("nas", "ls -A /srv/home/w").split() == ["g"]


def test_names_sizes_times_and_what_is_not_there(lab: Rig) -> None:
    script = f"""cd {HOME}/w; set -e
        echo 0123456789 > f; truncate -s 4 f; [ "$(cat f)" = 0123 ]; truncate -s 100 f; [ "$(stat -c %s f)" = 100 ]
        touch -d '2001-02-03 04:05:06.5 UTC' f; [ "$(stat -c %.1Y f)" = 981173106.5 ]
        mkdir d; mv f d/g; [ -e d/g ]; ! rmdir d 2> /dev/null; chmod 604 d/g; [ "$(stat -c %a d/g)" = 604 ]
        set -C; : > excl; ! (: > excl) 2> /dev/null; mkfifo pipe; [ -p pipe ]; df . | grep -q {HOME}
        ! getent nothing > /dev/null; flock excl true; dd if=/dev/zero of=sparse bs=1 count=1 seek=1M 2> /dev/null
        [ "$(stat -c %s sparse)" = 1048577 ]; cmp -n 1048577 sparse /dev/zero"""
    lab.sh("one", script, user=LAB)


def test_small_writes_come_out_as_on_a_disk(lab: Rig) -> None:
    """They are answered before the server has them: nobody may see that, however writes and reads follow each other."""
    for seed in (1, 2):
        script = f"cat > /tmp/twins; perl /tmp/twins {HOME}/w {seed}; rm -f /tmp/twin"
        assert lab.sh("one", script, user=LAB, data=TWINS, seconds=120) == ""
        there = lab.sh("one", f"sha256sum < {HOME}/w/twin")
        assert lab.sh("nas", "sha256sum < /srv/home/w/twin") == there
        assert lab.sh("two", f"sha256sum < {HOME}/w/twin; rm {HOME}/w/twin") == there


def test_what_was_closed_is_there(lab: Rig) -> None:
    script = (
        f"perl -e 'open F, qq(>), $ARGV[0]; for (1..2000) {{ syswrite F, pack qq(N), $_ }} close F or die' {HOME}/w/"
    )
    for number in range(5):
        lab.sh("one", script + str(number), user=LAB)
        assert lab.sh("nas", f"stat -c %s /srv/home/w/{number}").strip() == "8000"
        assert lab.sh("two", f"tail -c 4 {HOME}/w/{number} | od -An -tu1").split() == ["0", "0", "7", "208"]


def test_a_write_that_the_server_refuses_is_told_on_closing_at_the_latest(lab: Rig) -> None:
    """Where no file system of the server can have anything."""
    begin = f"use Fcntl; use IO::Handle; sysopen F, qq({HOME}/w/f), O_RDWR | O_CREAT; sysseek F, 2 ** 62, 0;"
    write = "$ok = syswrite F, 1;"
    for end in ("$ok &&= F->sync;", "$ok &&= close F;", "select undef, undef, undef, 0.5; $ok &&= syswrite F, 1;"):
        said = lab.sh("one", f"perl -e '{begin} {write} {end} print $ok ? qq(well) : qq($!)'", user=LAB)
        assert said == "File too large"

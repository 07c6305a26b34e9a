"""Where copies land, and what a tar stream from a node may do on this host."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from labctl.access.copy import Destination, Place, destination, parse_owner, parse_place
from labctl.access.tar import UnsafeError, pack, relocate, repack, unpack
from labctl.errors import LabctlError, NotFoundError, UsageError


def stream(*members: tuple[str, str, str]) -> io.BytesIO:
    """A tar stream of (kind, name, content or target)."""
    out = io.BytesIO()
    with tarfile.open(mode="w|", fileobj=out) as tar:
        for kind, name, value in members:
            member = tarfile.TarInfo(name)
            match kind:
                case "file":
                    member.size = len(value)
                    member.mode = 0o4755
                    tar.addfile(member, io.BytesIO(value.encode()))
                    continue
                case "directory":
                    member.type, member.mode = tarfile.DIRTYPE, 0o755
                case "symlink":
                    member.type, member.linkname = tarfile.SYMTYPE, value
                case "link":
                    member.type, member.linkname = tarfile.LNKTYPE, value
                case "device":
                    member.type = tarfile.CHRTYPE
            tar.addfile(member)
    out.seek(0)
    return out


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("dev:/etc/hosts", Place("dev", "/etc/hosts")),
        ("web-1:", Place("web-1", "")),
        ("dev:a:b", Place("dev", "a:b")),
        ("./dev:x", Place(None, "./dev:x")),
        ("/tmp/a:b", Place(None, "/tmp/a:b")),
        ("plain", Place(None, "plain")),
        (":x", Place(None, ":x")),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert str(place) == text


def test_owners() -> None:
    assert parse_owner("www-data") == ("www-data", None)
    assert parse_owner("1000:0") == ("1000", "0")
    for text in ("", "a:b:c", "a b", ":x"):
        with pytest.raises(UsageError):
            parse_owner(text)


def test_destinations_follow_cp() -> None:
    assert destination("/d", "directory", name="f", kind="file") == Destination("/d", "f")
    assert destination("/d", "directory", name="t", kind="directory") == Destination("/d", "t")
    assert destination("/d", "directory", name="t", kind="directory", contents=True) == Destination("/d", None)
    assert destination("/d/x", "file", name="f", kind="file") == Destination("/d", "x")
    assert destination("/x", None, name="f", kind="file", parent="directory") == Destination("/", "x")
    assert destination("/d/x/", None, name="t", kind="directory", parent="directory") == Destination("/d", "x")


def test_destinations_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="is a directory"):
        destination("/f", "file", name="t", kind="directory")
    with pytest.raises(UsageError, match="not a directory"):
        destination("/f", "file", name="a", kind="file", several=True)
    with pytest.raises(UsageError, match="not a directory"):
        destination("/f/", "file", name="a", kind="file")
    with pytest.raises(NotFoundError, match="no directory /no/such"):
        destination("/no/such/f", None, name="a", kind="file", parent=None)
    with pytest.raises(NotFoundError, match="no directory /new"):
        destination("/new/", None, name="a", kind="file", parent="directory")


@pytest.mark.parametrize(
    ("name", "top", "result"),
    [
        ("a", "b", "b"),
        ("a/x/y", "b", "b/x/y"),
        ("./a/x", "b", "b/x"),
        ("a/", None, None),
        ("a/x", None, "x"),
        ("/a/x", "b", "b/x"),
    ],
)
def test_relocate(name: str, top: str | None, result: str | None) -> None:
    assert relocate(name, top) == result


def test_a_way_up_is_refused_wherever_it_would_lead() -> None:
    for name in ("a/..", "a/../b", "a/b/../c"):
        with pytest.raises(UnsafeError):
            relocate(name, "t")


@pytest.mark.parametrize(
    "members",
    [
        [("file", "t/../../evil", "x")],
        [("symlink", "t/way", "../.."), ("file", "t/way/evil", "x")],
        [("symlink", "t/way", "OUTSIDE"), ("file", "t/way/evil", "x")],
        [("symlink", "t/way", "OUTSIDE"), ("directory", "t/way/evil", "")],
        [("symlink", "t/way", "OUTSIDE"), ("directory", "t/way", ""), ("file", "t/way/evil", "x")],
        [("link", "t/mine", "t/../../secret"), ("file", "t/mine", "x")],
        [("symlink", "t/way", "OUTSIDE"), ("link", "t/mine", "t/way/secret")],
    ],
)
def test_nothing_is_written_or_linked_outside(tmp_path: Path, members: list[tuple[str, str, str]]) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside" / "deep"
    outside.mkdir()
    inside.mkdir(parents=True)
    (outside / "secret").write_text("secret")
    given = [(kind, name, value.replace("OUTSIDE", str(outside))) for kind, name, value in members]
    with pytest.raises(UnsafeError):
        unpack(stream(*given), inside, top="t", say=lambda text: None)
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert not list(tmp_path.rglob("evil"))
    assert (outside / "secret").stat().st_nlink == 1


def test_a_file_is_never_written_through_a_link_of_the_stream(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    unpack(
        stream(("symlink", "t/f", str(victim)), ("file", "t/f", "theirs")),
        tmp_path / "out",
        top="t",
        say=lambda _: None,
    )
    assert victim.read_text() == "mine"
    assert (tmp_path / "out/t/f").read_text() == "theirs"


def test_set_uid_and_devices_do_not_come_out(tmp_path: Path) -> None:
    said: list[str] = []
    unpack(stream(("file", "t/tool", "x"), ("device", "t/null", "")), tmp_path, top="t", say=said.append)
    assert (tmp_path / "t/tool").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "t/tool").stat().st_uid == os.geteuid()
    assert said == ["left out, neither file, directory nor link: t/null"]


def test_half_a_stream_is_an_error(tmp_path: Path) -> None:
    whole = stream(("file", "t", "x" * 100_000)).getvalue()
    with pytest.raises(LabctlError):
        unpack(io.BytesIO(whole[:50_000]), tmp_path, top="t", say=lambda text: None)
    with pytest.raises(LabctlError, match="incomplete"):
        unpack(io.BytesIO(b""), tmp_path, top="t", say=lambda text: None)


def test_streams_into_nodes_have_numbers_for_owners(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    os.link(tmp_path / "d" / "f", tmp_path / "d" / "g")
    os.mkfifo(tmp_path / "d" / "pipe")
    said: list[str] = []
    packed, passed = io.BytesIO(), io.BytesIO()
    pack(tmp_path / "d", packed, top="there", owner=(1000, 50), say=said.append)
    packed.seek(0)
    repack(packed, passed, top=None, owner=(7, 8), say=said.append)
    for data, owner, names in ((packed, (1000, 50), ["there", "there/f", "there/g"]), (passed, (7, 8), ["f", "g"])):
        data.seek(0)
        with tarfile.open(fileobj=data) as tar:
            members = tar.getmembers()
        assert [member.name for member in members] == names
        assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(*owner, "", "")}
        assert members[-1].islnk()
        assert members[-1].linkname == names[-2]
    assert said == [f"left out, neither file, directory nor link: {tmp_path}/d/pipe"]


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no .*nosuch"):
        pack(tmp_path / "nosuch", io.BytesIO(), top="t", owner=(0, 0), say=lambda text: None)

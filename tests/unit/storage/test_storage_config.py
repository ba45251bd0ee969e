"""storage.cfg is read, edited and printed without losing what is not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.storage import StorageConfig, StorageConfigError, StorageEntry, StorageError

TEXT = """# the first
dir: local
\tpath /var/lib/vz
\tcontent iso,images
\tprune-backups keep-last=3

weird: far-away
\tserver 10.0.0.1
\tsparse
"""


def test_prints_back_what_it_read() -> None:
    assert StorageConfig.parse(TEXT).render() == TEXT


def test_an_edit_keeps_all_other_keys_and_sections() -> None:
    config = StorageConfig.parse(TEXT).update("local", {"shared": "1"}, ("content",))
    assert config.render() == TEXT.replace("\tcontent iso,images\n", "").replace("=3\n", "=3\n\tshared 1\n")
    assert config.get("local").shared


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dir: a1\n\tpath relative\n", ("line 2", "'path'", "begins with '/'")),
        ("dir: a1\n\tpath /x\n\tcontent images,fun\n", ("line 3", "'content'", "'fun'", "images, rootdir")),
        ("dir: a1\n\tpath /x\n\tshared maybe\n", ("line 3", "'shared'", "1, 0")),
        ("dir: a1\n\tpath /x\n\tnodes a_b\n", ("line 3", "'nodes'", "a_b")),
        ("dir: a1\n\tpath /x\n\tpaht /y\n", ("line 3", "'paht'", "'path' is not", "content, nodes")),
    ],
)
def test_a_wrong_setting_is_named_at_its_storage_and_the_others_can_be_used(
    text: str, parts: tuple[str, ...]
) -> None:
    config = StorageConfig.parse(f"{text}\ndir: good\n\tpath /good\n")
    for part in ("storage.cfg", *parts):
        assert part in config.get("a1").wrong
    assert not config.get("good").wrong
    assert not config.get("a1").shared
    assert (
        not config.update("a1", {"path": "/x", "content": "images", "shared": "1", "nodes": "n1"}, ("paht",))
        .get("a1")
        .wrong
    )
    with pytest.raises(StorageConfigError):
        config.update("a1", {"disable": "0"})


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("zfspool: a1\n\tsparse 1\n", ("line 1", "'pool'", "tank")),
        ("zfspool: a1\n\tpool ../x\n", ("line 2", "'pool'", "'../x'", "tank")),
        ("zfspool: a1\n\tpool -r\n", ("line 2", "'pool'", "'-r'")),
        ("zfspool: a1\n\tpool t\n\tblocksize 3k\n", ("line 3", "'blocksize'", "power of two")),
        ("zfspool: a1\n\tpool t\n\tmountpoint t\n", ("line 3", "'mountpoint'", "begins with '/'")),
        ("zfspool: a1\n\tpool t\n\tcontent iso\n", ("line 3", "'content'", "images, rootdir")),
        ("zfspool: a1\n\tpool t\n\tpath /x\n", ("line 3", "'path'", "pool, sparse")),
        ("btrfs: a1\n\tpath x\n", ("line 2", "'path'", "begins with '/'")),
        ("btrfs: a1\n\tpath /x\n\tnocow maybe\n", ("line 3", "'nocow'", "1, 0")),
    ],
)
def test_each_kind_names_its_own_wrong_settings(text: str, parts: tuple[str, ...]) -> None:
    entry = StorageConfig.parse(text).get("a1")
    for part in ("storage.cfg", *parts):
        assert part in entry.wrong
    with pytest.raises(StorageConfigError):
        StorageConfig(()).add(entry)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dir: a1\n\tpath /x\n\tpath /y\n", ("line 3", "'path'", "twice")),
        ("dir: a1\n\tpath /x\ndir: a1\n\tpath /x\n", ("line 3", "defined twice")),
        ("rubbish\n", ("line 1", "TYPE: NAME")),
        ("\tpath /x\n", ("line 1", "no storage's section")),
    ],
)
def test_a_wrong_line_is_named_with_what_is_allowed(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(StorageConfigError) as error:
        StorageConfig.parse(text)
    for part in ("storage.cfg", *parts):
        assert part in str(error.value)


def test_nodes_restrict_where_it_is() -> None:
    entry = StorageEntry("dir", "s1", {"path": "/x", "nodes": "n1,n2"})
    assert entry.available_on("n1")
    assert not entry.available_on("n3")


def test_a_second_storage_of_the_same_name_is_refused() -> None:
    with pytest.raises(StorageError, match="already defined"):
        StorageConfig.parse(TEXT).add(StorageEntry("dir", "local", {"path": "/x"}))


words = st.from_regex(r"[a-z][a-z0-9]{1,8}", fullmatch=True)


@given(st.dictionaries(words, st.dictionaries(words.map(lambda w: "x" + w), words, max_size=4), max_size=4))
def test_any_configuration_survives_a_round_trip(sections: dict[str, dict[str, str]]) -> None:
    entries = tuple(StorageEntry("dir", name, {"path": "/p", **more}) for name, more in sections.items())
    config = StorageConfig(entries)
    assert StorageConfig.parse(config.render()) == config

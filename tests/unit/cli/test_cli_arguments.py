import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvorum.cli.arguments import parse, read_words
from kvorum.cli.failures import UsageFailure
from kvorum.cli.table import MethodEntry, Parameter, Table


def parsed(table: Table, line: str) -> dict[str, object]:
    entry, rest = table.find("qm", line.split())
    return dict(parse(entry, rest, {"node": "n1"}).parameters)


@pytest.mark.parametrize("form", ["--name web", "-name web", "--name=web", "-name=web"])
def test_an_option_may_be_written_in_four_ways(table: Table, form: str) -> None:
    assert parsed(table, f"set 100 {form}") == {"node": "n1", "vmid": "100", "name": "web"}


@pytest.mark.parametrize(
    ("form", "value"), [("--onboot", "1"), ("--onboot 0", "0"), ("--onboot=off", "0"), ("--onboot yes", "1")]
)
def test_a_boolean_stands_bare_or_with_a_value(table: Table, form: str, value: str) -> None:
    assert parsed(table, f"set 100 {form}")["onboot"] == value


def test_a_bare_boolean_does_not_swallow_the_argument_after_it(table: Table) -> None:
    assert parsed(table, "start --skiplock 100") == {"node": "n1", "vmid": "100", "skiplock": "1"}


def test_an_array_collects_its_values(table: Table) -> None:
    assert parsed(table, "set 100 --tags a --tags b")["tags"] == ["a", "b"]


def test_a_numbered_family_takes_its_numbers_only(table: Table) -> None:
    assert parsed(table, "set 100 --net31 virtio")["net31"] == "virtio"
    for wrong in ("net32", "net", "net01"):
        with pytest.raises(UsageFailure, match="Unknown option"):
            parsed(table, f"set 100 --{wrong} virtio")


def test_the_last_argument_takes_the_rest_even_after_dashes(table: Table) -> None:
    assert parsed(table, "guest exec 100 -- ls -l --all")["command"] == ["ls", "-l", "--all"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("start", "400 not enough arguments"),
        ("start 100 101", "400 too many arguments"),
        ("start 100 --bogus 1", "Unknown option: bogus"),
        ("set 100 --name", "requires an argument"),
        ("set 100 --name a --name b", "given twice"),
        ("list --output-format xml", "not one of text, json"),
        ("start 100 --vmid 101", "by position"),
    ],
)
def test_a_wrong_line_is_told_in_a_sentence(table: Table, line: str, sentence: str) -> None:
    with pytest.raises(UsageFailure, match=sentence):
        parsed(table, line)


def test_subcommands_may_be_shortened_while_unique(table: Table) -> None:
    assert table.find("qm", ["l"])[0].name == "list"
    assert table.find("qm", ["g", "e", "1"])[0].name == "guest exec"
    assert table.find("qm", ["agent", "exec", "1"])[1] == ["1"]
    with pytest.raises(UsageFailure, match="ambiguous: set, start"):
        table.find("qm", ["s"])
    with pytest.raises(UsageFailure, match="unknown command 'qm frobnicate'"):
        table.find("qm", ["frobnicate"])


def test_how_to_show_is_no_parameter(table: Table) -> None:
    entry, rest = table.find("qm", ["list", "--output-format", "json", "--noheader", "--full"])
    given_words = parse(entry, rest)
    assert given_words.parameters == {"full": "1"}
    assert given_words.presentation.format == "json"
    assert not given_words.presentation.header


@given(st.lists(st.text(alphabet="-=ab01 ", max_size=6), max_size=8))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    method = MethodEntry("GET", "/x", parameters={"a": Parameter("a"), "b": Parameter("b", "boolean")})
    try:
        found = read_words(method, list(words))
    except UsageFailure as failure:
        assert str(failure)
    else:
        assert set(found.parameters) <= {"a", "b"}

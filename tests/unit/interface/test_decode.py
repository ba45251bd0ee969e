from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from kvorum.core.errors import ParameterError
from kvorum.interface import Boolean, Decoder, NodeName, Parameters, TextList, Vmid, read_form, read_json


class Sample(Parameters):
    node: NodeName
    vmid: Vmid
    target: str | None = Field(None, alias="target-node", max_length=8)
    online: Boolean = False
    mode: Literal["fast", "slow"] = "fast"
    cores: Annotated[int, Field(ge=1, le=4)] = 1
    names: TextList = ()
    links: list[str] | None = None


PATH = {"node": "n1", "vmid": "100"}
decoder = Decoder(Sample)


def decode(*pairs: tuple[str, str]) -> Sample:
    found = decoder.decode(PATH, pairs)
    assert isinstance(found, Sample)
    return found


def errors(*pairs: tuple[str, str]) -> dict[str, str]:
    with pytest.raises(ParameterError) as caught:
        decode(*pairs)
    return caught.value.errors


def test_values_from_the_path_and_beside_it_fill_one_model() -> None:
    found = decode(("target-node", "n2"), ("online", "yes"), ("cores", "2"))
    assert (found.node, found.vmid, found.target, found.online, found.cores) == ("n1", 100, "n2", True, 2)


def test_a_path_parameter_may_come_again_when_it_is_equal() -> None:
    assert decode(("vmid", "100"), ("node", "n1")).vmid == 100
    assert "conflicting values" in errors(("vmid", "101"))["vmid"]


def test_a_list_format_splits_and_an_array_repeats_its_key() -> None:
    assert decode(("names", "a,b;c d"), ("names", "e\0f")).names == ("a", "b", "c", "d", "e", "f")
    assert decode(("links", "a,b"), ("links", "c")).links == ["a,b", "c"]


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        (("bogus", "1"), "not defined in schema"),
        (("cores", "x"), "type check ('integer') failed - got 'x'"),
        (("cores", "9"), "maximum value of 4"),
        (("cores", "0"), "minimum value of 1"),
        (("mode", "medium"), "'medium' is not one of 'fast' or 'slow'"),
        (("online", "perhaps"), "neither true nor false"),
        (("target-node", "much-too-long"), "8 characters"),
    ],
)
def test_each_wrong_parameter_is_named_with_a_sentence(pair: tuple[str, str], sentence: str) -> None:
    found = errors(pair)
    assert list(found) == [pair[0]]
    assert sentence in found[pair[0]]


def test_all_wrong_parameters_are_told_at_once() -> None:
    assert set(errors(("cores", "x"), ("bogus", "1"))) == {"cores", "bogus"}


def test_a_missing_parameter_is_told() -> None:
    with pytest.raises(ParameterError) as caught:
        decoder.decode({"node": "n1"})
    assert caught.value.errors == {"vmid": "property is missing and it is not optional"}


def test_json_means_the_same_as_a_form() -> None:
    assert decode(
        *read_json(b'{"online": true, "cores": 3, "links": ["a", "b"], "target-node": null}')
    ) == decode(*read_form("online=1&cores=3&links=a&links=b"))


@pytest.mark.parametrize("body", [b"[1]", b"{", b'{"a": {"b": 1}}', b"\xff", b"[" * 5000])
def test_a_body_that_is_no_flat_json_object_is_a_parameter_error(body: bytes) -> None:
    with pytest.raises(ParameterError):
        read_json(body)


@given(st.binary(max_size=200))
def test_no_json_body_raises_anything_but_a_parameter_error(body: bytes) -> None:
    try:
        decoder.decode(PATH, read_json(body))
    except ParameterError:
        pass


@given(st.lists(st.tuples(st.sampled_from([*Sample.model_fields, "x", ""]), st.text())))
def test_no_pairs_raise_anything_but_a_parameter_error(pairs: list[tuple[str, str]]) -> None:
    try:
        decoder.decode(PATH, pairs)
    except ParameterError as error:
        assert error.errors

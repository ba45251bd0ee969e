import enum
from dataclasses import dataclass

import msgspec
import pytest
from pydantic import BaseModel, Field

from kvorum.interface import Encoded, Page, plain, success, to_json


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Disk:
    name: str
    shared: bool
    size: int | None = None


class Guest(BaseModel):
    full_name: str = Field(alias="full-name")
    disks: list[Disk] = []


class Node(msgspec.Struct, rename={"nice_name": "nice-name"}):
    nice_name: str
    online: bool


def test_booleans_are_numbers_and_absent_values_are_left_out_at_every_depth() -> None:
    guest = Guest(**{"full-name": "a", "disks": [Disk("d", True), Disk("e", False, 5)]})
    assert to_json(success([guest])) == (
        b'{"data":[{"full-name":"a","disks":[{"name":"d","shared":1},{"name":"e","shared":0,"size":5}]}]}'
    )


def test_structs_enumerations_and_nested_plain_values_are_encoded() -> None:
    assert plain({"n": Node("x", True), "c": Colour.RED, "t": (True, {"a": None, "b": False})}) == {
        "n": {"nice-name": "x", "online": 1},
        "c": "red",
        "t": [1, {"b": 0}],
    }


def test_no_result_is_null() -> None:
    assert to_json(success(None)) == b'{"data":null}'


def test_a_page_shows_the_whole_length_beside_data() -> None:
    assert success(Page([1, 2], 7)) == {"data": [1, 2], "total": 7}


def test_what_has_no_json_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        plain({"a": object()})


def test_rows_that_are_json_already_go_into_the_answer_as_they_are() -> None:
    rows: Encoded[list[dict[str, int]]] = Encoded.rows([b'{"a":1}', b'{"a":2}'])
    assert to_json(success(rows)) == b'{"data":[{"a":1},{"a":2}]}'
    assert plain(rows) == [{"a": 1}, {"a": 2}]
    assert to_json(success(Encoded.rows([]))) == b'{"data":[]}'

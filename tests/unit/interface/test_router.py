import dataclasses

import pytest

from kvorum.core.errors import NotImplementedHere
from kvorum.interface import (
    Anyone,
    Context,
    Listing,
    LoggedIn,
    Method,
    NoParameters,
    Parameters,
    Route,
    Router,
    Where,
)


async def handler(ctx: Context, p: Parameters) -> None:
    return None


def method(verb: str, path: str) -> Method:
    return Method(
        verb, path, handler, NoParameters, None, LoggedIn(), Where.ANY, False, False, True, "summary"
    )


router = Router(
    [
        method("GET", "/version"),
        method("GET", "/nodes/{node}/qemu"),
        method("GET", "/nodes/{node}/qemu/{vmid}/status/current"),
        method("GET", "/pools/special"),
        method("PUT", "/pools/{poolid}"),
        method("GET", "/s/{storage}/content/{volume}"),
    ]
)


def template(verb: str, path: str) -> str:
    target = router.match(verb, path).target
    assert isinstance(target, Route)
    return target.method.path


def test_parameters_are_taken_from_the_path_and_decoded() -> None:
    found = router.match("GET", "/nodes/n1/qemu/10%30/status/current")
    assert found.values == {"node": "n1", "vmid": "100"}


def test_a_segment_that_is_spelled_out_goes_first_unless_it_lacks_the_verb() -> None:
    assert template("GET", "/pools/special") == "/pools/special"
    assert template("PUT", "/pools/special") == "/pools/{poolid}"


@pytest.mark.parametrize("path", ["/s/x/content/local:iso/a.iso", "/s/x/content/local%3Aiso%2Fa.iso"])
def test_a_volume_takes_the_rest_of_the_path(path: str) -> None:
    assert router.match("GET", path).values["volume"] == "local:iso/a.iso"


def test_directories_list_their_children() -> None:
    target = router.match("GET", "/nodes/n1").target
    assert isinstance(target, Listing)
    assert target.rows() == [{"name": "qemu", "subdir": "qemu"}]
    root = router.match("GET", "/").target
    assert isinstance(root, Listing)
    assert root.names == ("nodes", "pools", "s", "version")


@pytest.mark.parametrize(
    ("verb", "path"), [("GET", "/x"), ("POST", "/version"), ("GET", "/version/x"), ("GET", "/nodes/n1/x")]
)
def test_what_is_not_declared_is_not_implemented(verb: str, path: str) -> None:
    with pytest.raises(NotImplementedHere) as caught:
        router.match(verb, path)
    assert str(caught.value) == f"Method '{verb} {path}' not implemented"
    assert caught.value.code == 501


def test_two_names_for_one_parameter_are_a_mistake_of_ours() -> None:
    other = dataclasses.replace(method("GET", "/nodes/{name}/x"), permission=Anyone())
    with pytest.raises(AssertionError, match="is called 'node'"):
        Router([method("GET", "/nodes/{node}/qemu"), other])

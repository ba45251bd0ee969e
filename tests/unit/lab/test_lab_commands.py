from click.testing import CliRunner

from kvorum.lab import Lab
from kvorum.lab.commands import find_deb
from kvorum.lab.main import main
from kvorum.lab.plan import Places


def run(tmp_path, *arguments):
    return CliRunner().invoke(main, ["lab", "--dir", str(tmp_path), *arguments])


def test_a_command_on_no_lab_says_how_to_start_one(tmp_path):
    for arguments in (
        ["status"],
        ["cut", "n1"],
        ["exec", "n1", "--", "true"],
        ["heal"],
        ["clock", "n1", "-5"],
    ):
        done = run(tmp_path, *arguments)
        assert done.exit_code == 1
        assert done.output == "Error: The lab is not up: start it by `kvorum lab up`.\n"


def test_an_impossible_lab_is_one_sentence(tmp_path):
    done = run(tmp_path, "up", "--nodes", "99")
    assert done.exit_code == 1
    assert "99 nodes" in done.output
    assert not list(tmp_path.iterdir())


def test_no_deb_is_wanted_or_a_missing_one_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_deb("none") is None
    assert find_deb("auto") is None
    done = run(tmp_path, "up", "--deb", "x.deb")
    assert done.exit_code == 1


def test_the_clocks_help_says_how_it_is_shifted():
    told = CliRunner().invoke(main, ["lab", "clock", "--help"]).output
    assert "libfaketime" in told
    assert "restarted" in told


def test_the_environment_names_another_lab(tmp_path, monkeypatch):
    monkeypatch.setenv("KVORUM_LAB_DIR", str(tmp_path / "second"))
    assert Lab().places.state == tmp_path / "second" / "run"
    assert Lab(tmp_path / "third").places.state == tmp_path / "third" / "run"
    monkeypatch.delenv("KVORUM_LAB_DIR")
    assert Lab().places.state == Places().state

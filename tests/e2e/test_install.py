"""What `make install` puts where, and that the program, systemd and people can read it."""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile

import pytest

from conftest import ROOT, program, shipped_model

pytestmark = pytest.mark.skipif(os.environ.get("TALLOW_RUNNER") is not None, reason="an emulated program is installed nowhere")

EXAMPLE = ROOT / "src/deploy/tallow.conf"
MOST_EXPOSED = 2.0  # what systemd-analyze may say of the unit, of 10


def make(target, *settings, umask=0o022, **popen):
    """The files alone: what is to be installed has been built."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "MFLAGS"}
    return subprocess.run(["make", "-s", target, "BIN=" + program()[-1], *settings], cwd=ROOT, env=environment,
                          capture_output=True, text=True, umask=umask, **popen)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def installed(tmp_path):
    """A system of its own, by a person whose umask shuts others out."""
    result = make("install-files", "DESTDIR=%s" % tmp_path, "PREFIX=/usr", umask=0o077)
    assert result.returncode == 0, result.stderr
    return tmp_path


def test_everything_is_there_and_can_be_read_by_all(installed):
    assert files(installed) == {
        "usr/bin/tallow", "usr/share/man/man1/tallow.1", "usr/share/bash-completion/completions/tallow",
        "usr/share/zsh/site-functions/_tallow", "usr/share/fish/vendor_completions.d/tallow.fish",
        "usr/share/doc/tallow/examples/tallow.conf", "usr/lib/systemd/system/tallow.service",
        "usr/lib/systemd/system/tallow.socket", "usr/lib/sysusers.d/tallow.conf", "etc/tallow/tallow.conf"}
    for path in installed.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o755 if path.is_dir() or path.name == "tallow" and path.parent.name == "bin" else 0o644), path
        assert path.is_dir() or path.stat().st_size > 0
    said = subprocess.run([installed / "usr/bin/tallow", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("tallow ")


def test_what_was_installed_goes_again_but_for_a_changed_configuration(installed):
    settings = "DESTDIR=%s" % installed, "PREFIX=/usr"
    assert make("uninstall", *settings).returncode == 0
    assert files(installed) == set() and not (installed / "etc/tallow").exists()
    assert make("install-files", *settings).returncode == 0
    configuration = installed / "etc/tallow/tallow.conf"
    configuration.write_text("port = 1\n")
    assert make("install-files", *settings).returncode == 0 and configuration.read_text() == "port = 1\n"
    result = make("uninstall", *settings)
    assert result.returncode == 0 and "was changed, and stays" in result.stdout
    assert files(installed) == {"etc/tallow/tallow.conf"}
    configuration.unlink()
    for _ in range(2):  # once more does no harm
        assert make("uninstall", *settings).returncode == 0 and not (installed / "etc/tallow").exists()


def test_for_one_person_nothing_is_touched_elsewhere(tmp_path):
    assert make("install-files", "PREFIX=%s" % tmp_path).returncode == 0
    assert (tmp_path / "etc/tallow/tallow.conf").is_file()
    unit = (tmp_path / "lib/systemd/system/tallow.service").read_text()
    assert "ExecStart=%s/bin/tallow serve --supervise --config %s/etc/tallow/tallow.conf\n" % (tmp_path, tmp_path) in unit


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_place_that_may_not_be_written_is_told_with_what_to_do():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are shut to others
        place = pathlib.Path(folder)
        place.chmod(0o755)
        for installed in (set(), {"usr/bin/tallow"}):  # none of the folders, and all of them
            result = make("install-files", "PREFIX=%s/usr" % folder, user="nobody", group="nogroup")
            assert result.returncode != 0 and "be root, or for you alone: make install PREFIX=~/.local" in result.stderr
            assert "Permission denied" in result.stderr or installed
            assert installed <= files(place) and bool(installed) == bool(files(place))
            assert make("install-files", "PREFIX=%s/usr" % folder).returncode == 0


# ---- the example ----


def shown_settings():
    return dict(re.findall(r"^#([a-z-]+) = (.*)$", EXAMPLE.read_text(), re.M))


def test_the_example_changes_nothing_and_its_defaults_are_the_programs(tallow):
    assert not [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    told = tallow("serve", "--help").stdout.decode()
    for name, value in shown_settings().items():
        row = re.search(r"^ +--%s .*(?:\n {20,}.*)?" % name, told, re.M).group()
        if name not in ("model", "api-key-file", "allowed-host"):
            assert "[%s]" % value in row or value == "0" and " 0: " in row, row


def test_the_example_is_accepted_with_all_that_it_shows(tallow, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("a-key\n")
    keys.chmod(0o640)
    shown = shown_settings() | {"model": shipped_model(), "api-key-file": keys, "port": 0, "shutdown-timeout": "26s"}
    configuration = tmp_path / "tallow.conf"
    configuration.write_text("".join("%s = %s\n" % setting for setting in shown.items()))
    result = tallow("serve", "--check", "--config", configuration)
    assert result.returncode == 0 and b"would be served at" in result.stdout, result.stderr


# ---- the units ----


def settings_of(unit):
    return [line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and not line.startswith("#")]


def test_the_units_command_is_one_that_serves(installed, tmp_path):
    settings = settings_of(installed / "usr/lib/systemd/system/tallow.service")
    command = dict(settings)["ExecStart"].replace("/usr/bin", str(installed / "usr/bin"))
    command = command.replace("/etc", str(installed / "etc")).split()
    result = subprocess.run(command + ["--check", "--port", "0"], capture_output=True, text=True)
    assert result.returncode == 2 and "--model" in result.stderr  # all but the model is there
    result = subprocess.run(command + ["--check", "--port", "0", "--model", shipped_model()], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_units_and_finds_little_exposed(tmp_path):
    assert make("install-files", "PREFIX=%s" % tmp_path).returncode == 0
    units = [tmp_path / "lib/systemd/system" / name for name in ("tallow.service", "tallow.socket")]
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    assert verified.returncode == 0 and "tallow" not in verified.stderr, verified.stderr
    judged = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", units[0]], capture_output=True, text=True)
    exposure = re.search(r"Overall exposure level for tallow.service: ([0-9.]+)", judged.stdout)
    assert exposure and float(exposure.group(1)) <= MOST_EXPOSED, judged.stdout + judged.stderr
    # and a unit with a mistake is told from one without
    units[0].write_text(units[0].read_text().replace("PrivateTmp=", "PrivateTemp="))
    assert "PrivateTemp" in subprocess.run(["systemd-analyze", "verify", "--man=no", units[0]], capture_output=True, text=True).stderr

"""Shell completion: the scripts that `mird --show-completion` prints, run by the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = """
complete -p mird >/dev/null || exit 3
function=$(complete -p mird | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"$function" mird
printf '%s\\n' "${COMPREPLY[@]}"
"""

ZSH = """
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell "PS1=; PATH=$PATH; fpath=($fpath); autoload -Uz compinit; compinit -u -D; source $1; print READY"
until [[ $heard == *$'\\n'READY* ]]; do zpty -r shell line || exit 4; heard+=$line; done
zpty -w -n shell "$2"$'\\t'
repeat 100; do
    sleep 0.1
    if zpty -rt shell line; then shown+=$line; fi
    [[ $shown == *$3* ]] && break
done
print -r -- "$shown"
"""


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory) -> Path:
    """A folder for PATH with `mird` in it: this very package."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "mird").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m million_ird "$@"\n')
    (folder / "mird").chmod(0o755)
    return folder


def _environment(bin_folder: Path) -> dict[str, str]:
    return os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def scripts(bin_folder) -> dict[str, str]:
    """The completion script of each shell that is here, as the command prints it when called from that shell."""
    found = {}
    for shell in filter(shutil.which, ("bash", "zsh")):
        command = [
            shell,
            "-c",
            "mird --show-completion; true",
        ]  # `true`: or the shell would be gone before it is asked for
        done = subprocess.run(command, capture_output=True, text=True, env=_environment(bin_folder), check=True)
        found[shell] = done.stdout
    return found


def bash(script: str, bin_folder: Path, *words: str) -> list[str]:
    """What bash offers for a line of these words, of which the last is being typed."""
    command = ["bash", "--norc", "-c", script + BASH, "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(bin_folder), check=True)
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("mird", "de"), {"decide", "degrade"}),
        (("mird", "train", "d"), {"dynet", "detectors"}),
        (("mird", "build", "--pre"), {"--preset"}),
        (("mird", "build", "--preset", "ls"), {"lsdir"}),
        (("mird", "degrade", "photos", "--format", "web"), {"webdataset"}),
        (("mird", "publish", "mo"), {"model"}),
    ],
)
def test_bash_completes_commands_options_and_values(scripts, bin_folder, words, offered):
    assert set(bash(scripts["bash"], bin_folder, *words)) == offered


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
@pytest.mark.parametrize(("typed", "becomes"), [("mird expl", "mird explain"), ("mird build --pres", "--preset")])
def test_zsh_completes_what_is_typed(scripts, bin_folder, tmp_path, typed, becomes):
    (tmp_path / "completion.zsh").write_text(scripts["zsh"])
    command = ["zsh", "-f", "-c", ZSH, "zsh", str(tmp_path / "completion.zsh"), typed, becomes]
    done = subprocess.run(
        command, capture_output=True, text=True, env=_environment(bin_folder), timeout=60, check=False
    )
    assert becomes in done.stdout.replace("\x08", ""), done.stdout + done.stderr

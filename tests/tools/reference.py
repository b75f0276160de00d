"""reference.py BINARY [--check]: what `BINARY manual --markdown` prints stands in README.md between two markers. Writes it
there; with --check it writes nothing and exits with 1 where it differs."""

import pathlib
import subprocess
import sys

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- Options: written by `make reference` -->\n", "<!-- End of the options -->\n"


def main(arguments):
    *command, check = arguments if arguments[-1] == "--check" else arguments + [""]
    table = subprocess.run(command + ["manual", "--markdown"], stdout=subprocess.PIPE, check=True).stdout.decode()
    text = README.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    new = before + BEGIN + "\n" + table + "\n" + END + after
    if check:
        if new != text:
            sys.exit("README.md has other options than %s: make reference" % command[-1])
    else:
        README.write_text(new)


main(sys.argv[1:])

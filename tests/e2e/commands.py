"""Runs several management commands in one process, since starting one takes a second.

Standard input holds a JSON list of their words; what each printed goes out as a JSON list.
"""

import json
import sys
from contextlib import redirect_stdout
from io import StringIO

from django.core.management import execute_from_command_line


def _printed(words: list[str]) -> str:
    with redirect_stdout(StringIO()) as output:
        execute_from_command_line(["manage.py", *words])
    return output.getvalue().strip()


if __name__ == "__main__":
    json.dump([_printed(words) for words in json.load(sys.stdin)], sys.stdout)

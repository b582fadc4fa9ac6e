"""The generated parts of docs/reference/command_line.md are those of the commands."""

import re

import command_line


def test_page_is_up_to_date():
    text = command_line.PAGE.read_text(encoding="utf-8")
    assert command_line.renewed(text) == text, "run: python tools/command_line.py"


def test_every_command_has_an_example():
    blocks = re.findall(r"```bash\n(.*?)```", command_line.PAGE.read_text(encoding="utf-8"), re.DOTALL)
    used = set(re.findall(r"^pushforward (\w+)", "\n".join(blocks), re.MULTILINE))
    assert used == set(command_line.commands())

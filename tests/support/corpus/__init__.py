"""Bad input, and odd but good input, as files: one list of file, command, exit code and words."""

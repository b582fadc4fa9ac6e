"""A corpus of input files, bad ones and unusual good ones: a list of file, command, exit code and message parts."""

"""The list: which file, in which command, ends with which exit code, and what the sentence must hold.

A refusal must name the file, the place in it, the value, and a remedy; the test asks that of every sentence, and of the
words that stand here.
"""

import dataclasses
import shutil
from pathlib import Path

from corpus.made import MADE

FILES = Path(__file__).parent / "files"
NAMES = sorted([path.name for path in FILES.glob("[!.]*")] + list(MADE))

# every command that reads a table, short; FILE, MODEL (of a, b, c) and GIVEN (of a, b given c) are filled in
FIT = "fit FILE -o m.safetensors --epochs 1 --layers 2 --width 8"
COMPARE = "compare FILE --flows nice --folds 1 --epochs 1 --layers 2 --width 8"
SCORE = "score MODEL FILE -o s.csv"
CHECK = "check MODEL FILE"
FIT_GIVEN = FIT + " --context b"
SCORE_GIVEN = "score GIVEN FILE -o s.csv"
CHECK_GIVEN = "check GIVEN FILE"
EVERYWHERE = (FIT, FIT_GIVEN, COMPARE, COMPARE + " --context b", SCORE, SCORE_GIVEN, CHECK, CHECK_GIVEN)


@dataclasses.dataclass(frozen=True)
class Case:
    """One command on one file.

    Attributes:
        file: its name in the corpus.
        command: what is run.
        words: what the sentence must hold, or a note where the command succeeds.
        code: the exit code.
        silent: words that must not be there.
    """

    file: str
    command: str
    words: tuple[str, ...]
    code: int = 1
    silent: tuple[str, ...] = ()


def place(name: str, folder: Path) -> Path:
    """Put a file of the corpus into a folder."""
    path = folder / name
    if name in MADE:
        MADE[name](path)
    else:
        shutil.copyfile(FILES / name, path)
    return path


def each(file: str, commands: tuple[str, ...], *words: str) -> list[Case]:
    """The same sentence from several commands."""
    return [Case(file, command, words) for command in commands]


MISSING = "--drop-na"
_GRID = "whole numbers"

REFUSED = [
    # NaN and infinities, in modelled and in given columns, in every command that reads a table
    *each("missing.csv", EVERYWHERE, "1 cell is missing", "line 3, column 'b'", "fill", MISSING),
    *each("nan.csv", EVERYWHERE, "1 cell is missing", "line 3, column 'b'", "fill", MISSING),
    *each("inf.csv", EVERYWHERE, "line 3, column 'b' is inf", "1 infinite", "correct or remove"),
    *each("minus_inf.csv", EVERYWHERE, "line 3, column 'b' is -inf", "1 infinite", "correct or remove"),
    *each("nan.npy", (FIT,), "1 cell is missing", "row 5, column 'x1'", MISSING),
    *each("nulls.parquet", (FIT, SCORE), "1 cell is missing", "row 2, column 'b'", MISSING),
    *each("overflow.csv", (FIT, SCORE), "line 3, column 'b' is inf", "correct or remove"),
    Case("all_missing.csv", FIT + " --drop-na", ("every row has a missing cell", "--columns")),
    Case("inf.csv", FIT + " --drop-na", ("line 3, column 'b' is inf",)),
    # constant columns
    Case("constant.csv", FIT, ("'b' is 3.0 in all 60 rows", "--columns", "--column b=constant")),
    Case("constant.csv", COMPARE, ("'b' is 3.0 in all 60 rows", "--columns", "--column b=constant")),
    Case("constant.csv", FIT_GIVEN, ("'b' is 3.0 in all 60 rows", "--columns")),
    Case("all_constant.csv", FIT + " --column a=constant --column b=constant", ("nothing is left", "constant")),
    Case("constant_other.csv", FIT + " --column b=constant", ("'b'", "3 in every row", "got 4 at row 2", "1 of 60")),
    # linear dependence, and too few rows
    Case("dependent.csv", FIT, ("'a', 'b', 'c'", "linearly dependent", "Drop one")),
    Case("dependent.csv", COMPARE, ("'a', 'b', 'c'", "linearly dependent", "Drop one")),
    *each("header_only.csv", EVERYWHERE, "0 rows", "at least one"),
    *each("no_rows.parquet", (FIT, SCORE), "0 rows", "at least one"),
    *each("blank.csv", (FIT,), "no header and no rows", "write a line of column names"),
    *each("zero_bytes.csv", (FIT, SCORE), "empty (0 bytes)", "write a header line"),
    Case("one_row.csv", FIT, ("at least 2 rows", "got 1", "add rows")),
    Case("copies_of_two.csv", FIT, ("copies", "drop")),
    # declared kinds that a value denies, with the row as it is counted in the file
    Case("on_the_bound.csv", FIT + " --column b=bounded:0:1", ("'b'", "inside (0, 1)", "got 1 at row 7", "1 of 60")),
    Case("on_the_bound.csv", COMPARE + " --column b=bounded:0:1", ("'b'", "inside (0, 1)", "got 1 at row 7")),
    Case("plain.csv", FIT + " --column a=positive", ("'a'", "above 0", "at row", "of 60", "declare")),
    Case("not_counts.csv", FIT + " --column b=count", ("'b'", _GRID, "got 2.5 at row 5", "1 of 60")),
    Case("not_counts.csv", FIT + " --column b=category", ("'b'", _GRID, "got 2.5 at row 5")),
    Case("not_counts.csv", FIT + " --column b=whole", ("'b'", _GRID, "got 2.5 at row 5")),
    Case("plain.csv", FIT + " --column z=positive", ("no column 'z'", "'a', 'b'")),
    Case("plain.csv", FIT + " --column a=postive", ("'a'", "positive", "'postive'")),
    Case("plain.csv", FIT + " --column a=bounded:1:0", ("'a'", "lower end", "1 and 0")),
    Case("plain.csv", FIT + " --unit z=cm", ("no column 'z'", "'a', 'b'")),
    # cells that are no numbers
    *each("word.csv", EVERYWHERE, "line 3, column 'b': 'blue' is not a number", "--columns"),
    *each("late_word.csv", (FIT, SCORE), "line 5002, column 'b': 'blue' is not a number", "--columns"),
    *each("date.csv", (FIT, SCORE), "line 2, column 'b': '2020-01-31'", "date or time", "write it as a number"),
    *each("time.csv", (FIT,), "line 2, column 'b': '12:30:00'", "date or time"),
    *each("thousands.csv", (FIT,), "line 2, column 'a': '1,234,567'", "thousands separators", "write plain digits"),
    *each("apostrophe_thousands.csv", (FIT,), "line 2, column 'a': \"1'234'567\"", "thousands separators"),
    *each("decimal_comma.csv", (FIT,), "line 2, column 'a': '1000,5'", "decimal comma", "write a decimal point"),
    *each("percent.csv", (FIT,), "line 2, column 'b': '10%'", "not a number"),
    *each("currency.csv", (FIT,), "line 2, column 'a': '$1000'", "not a number"),
    *each("formula_cell.csv", (FIT, SCORE), "line 2, column 'b': '=1+1'", "not a number"),
    *each("hex.csv", (FIT,), "line 2, column 'b': '0x1F'", "not a number"),
    *each("underscore.csv", (FIT,), "line 2, column 'a': '1_000'", "not a number"),
    *each("invisible.csv", (FIT,), "line 2, column 'b'", "\\u202e10", "not a number"),
    *each("terminal_codes.csv", (FIT,), "line 2, column 'b\\x1b[31m'", "x\\x1b[2J", "not a number"),
    *each("terminal_name.csv", (SCORE,), "no column 'a'", "\\x1b]0;owned\\x07"),
    *each("long_cell.csv", (FIT,), "line 2", "field limit"),
    # lines that do not have the header's cells
    *each("ragged_long.csv", EVERYWHERE, "line 3 has 4 cells, the header has 3", "give each line the same"),
    *each("ragged_short.csv", EVERYWHERE, "line 3 has 2 cells, the header has 3", "give each line the same"),
    *each("long_line.csv", (FIT,), "line 2 has 1000001 cells, the header has 3"),
    *each("quote_open.csv", (FIT, SCORE), "line 3", "quote"),
    *each("quote_inside.csv", (FIT,), "line 2, column 'b': '1\"0'", "not a number"),
    # headers
    *each("semicolons.csv", (FIT, SCORE), "'a;b;c' is one column", "semicolons", "with commas"),
    *each("tabs.csv", (FIT,), "tabs", "with commas", ".tsv"),
    *each("bars.csv", (FIT,), "'a|b|c' is one column", "bars", "with commas"),
    *each("commas.tsv", (FIT,), "'a,b,c' is one column", "commas", "with tabs"),
    *each("duplicate_header.csv", (FIT, SCORE), "'a' twice, as columns 1 and 3", "rename one"),
    *each("empty_name.csv", (FIT,), "column 1 has no name", "index=False"),
    *each("no_header.csv", (FIT, SCORE), "line 1 holds numbers (1000, 10, 5)", "header line"),
    *each("renamed.csv", (SCORE, CHECK, SCORE_GIVEN, CHECK_GIVEN), "no column 'c'", "did you mean 'C'"),
    *each("lacking.csv", (SCORE, CHECK, SCORE_GIVEN, CHECK_GIVEN), "no column 'c'", "the file has 'a', 'b'"),
    Case("good.csv", FIT + " --columns a,z", ("no column 'z'", "'a', 'b', 'c'")),
    Case("good.csv", FIT + " --context z", ("no column 'z'", "'a', 'b', 'c'")),
    Case("good.csv", FIT + " --columns a,b --context b", ("'b' is asked for twice", "one role")),
    Case("good.csv", FIT + " --context a,b,c", ("no column is left", "fewer context columns")),
    # other encodings, and bytes that are no text
    *each("utf16.csv", (FIT, SCORE), "not UTF-8", "save it as CSV in UTF-8"),
    *each("latin1.csv", (FIT,), "0xf6", "not UTF-8", "save it as UTF-8"),
    *each("latin1_cell.csv", (FIT, SCORE), "0xb5", "not UTF-8", "save it as UTF-8"),
    *each("nul_start.csv", (FIT,), "not UTF-8", "save it"),
    *each("late_nul.csv", (FIT, SCORE), "line 5002", "'1\\x00 0'"),
    *each("gzip.csv", (FIT,), "not UTF-8", "save it"),
    *each("parquet.csv", (FIT,), "not UTF-8", "save it"),
    *each("csv.parquet", (FIT,), "not readable as .parquet", "write it again"),
    *each("sheet.xlsx", (FIT, SCORE), "'.xlsx' names no known format", ".csv"),
    # Parquet and Arrow
    *each("text.parquet", (FIT, SCORE), "column 'b' holds text such as '9.9' in row 1", "write numbers", "--columns"),
    *each("nested.parquet", (FIT, SCORE), "column 'b' holds List(Float64)", "in row 1", "write numbers", "--columns"),
    *each("structs.parquet", (FIT,), "column 'b' holds Struct", "in row 1", "write numbers", "--columns"),
    *each("dates.parquet", (FIT,), "column 'b' holds dates or times", "in row 1", "write them as numbers"),
    *each("flags.parquet", (FIT,), "column 'b' holds true/false", "write 1 and 0"),
    *each("cut.parquet", (FIT,), "not readable as .parquet", "write it again"),
    *each("cut.arrow", (FIT, SCORE), "end of the file is missing", "write it again"),
    # arrays
    *each("complex.npy", (FIT,), "complex numbers", "float64"),
    *each("objects.npy", (FIT,), "Python objects", "float64"),
    *each("pickle.npy", (FIT,), "no readable NPY array", "numpy.save"),
    *each("cube.npy", (FIT,), "(9, 3, 2)", "reshape"),
    *each("cut.npy", (FIT,), "shape (9, 3)", "damaged", "write it again"),
    *each("liar.npy", (FIT,), "shape (99, 3)", "damaged", "write it again"),
    *each("narrow.npy", (SCORE,), "no column 'a'", "'x0', 'x1'"),
    *each("bomb.npz", (FIT,), "array 'x' would grow", "save it as NPY"),
    *each("objects.npz", (FIT,), "array 'x' holds Python objects", "float64"),
    *each("two_arrays.npz", (FIT,), "'x' (9, 3), 'y' (4,)", "save one table only"),
    # what is no file
    *each("folder.csv", (SCORE, COMPARE), "this is a folder", "name a file"),
    *each("pipe.csv", (FIT, SCORE), "no ordinary file", "copy its content"),
    *each("absent.csv", EVERYWHERE, "no such file", "check the name"),
    *each("hanging.csv", (FIT,), "no such file", "check the name"),
    *each("circle.csv", (FIT,), "circle.csv", "check"),
    *each("unreadable.csv", (FIT, SCORE), "cannot be read (Permission denied)", "check its permissions"),
]

_DONE = "wrote m.safetensors"
_SCORED = "3 rows scored"

ACCEPTED = [
    # good tables in odd dress give the scores of good.csv; the test compares them bit for bit
    *(Case(name, SCORE, (_SCORED,), 0) for name in ("bom.csv", "crlf.csv", "spaces.csv", "blank_lines.csv")),
    *(Case(name, SCORE, (_SCORED,), 0) for name in ("reordered.csv", "extra.csv")),
]

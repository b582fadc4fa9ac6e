"""The list of cases: file, command, exit code, and parts that the message must contain.

The parts of a refusal are the position in the file, the value, and a fix; every message must name the file.
"""

import dataclasses
import shutil
from pathlib import Path

from small import TINY

from corpus.made import MADE

FILES = Path(__file__).parent / "files"
NAMES = sorted([path.name for path in FILES.glob("[!.]*")] + list(MADE))

# all commands that read a table; FILE, MODEL (of a, b, c) and CONDITIONAL (of a, b given c) are replaced by paths
FIT = f"fit FILE -o m.safetensors --flow nice {' '.join(TINY)}"
COMPARE = f"compare FILE --flows nice --folds 1 {' '.join(TINY)}"
SCORE = "score MODEL FILE -o s.csv"
CHECK = "check MODEL FILE"
FIT_CONDITIONAL = FIT + " --context b"
SCORE_CONDITIONAL = "score CONDITIONAL FILE -o s.csv"
CHECK_CONDITIONAL = "check CONDITIONAL FILE"
EVERYWHERE = (
    FIT,
    FIT_CONDITIONAL,
    COMPARE,
    COMPARE + " --context b",
    SCORE,
    SCORE_CONDITIONAL,
    CHECK,
    CHECK_CONDITIONAL,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """One command on one file.

    Attributes:
        file: its name in the corpus.
        command: the command line.
        parts: parts of the error message, or of the output if it succeeds.
        code: the exit code.
    """

    file: str
    command: str
    parts: tuple[str, ...]
    code: int = 1

    @property
    def name(self) -> str:
        """The test id: file and command."""
        command, *rest = self.command.split()
        short = [word for word in rest if word not in TINY and word not in ("FILE", "-o", "m.safetensors", "s.csv")]
        return " ".join([self.file, command, *short])


def copy_to(name: str, folder: Path) -> Path:
    """Writes a file of the corpus to a folder."""
    path = folder / name
    if name in MADE:
        MADE[name](path)
    else:
        shutil.copyfile(FILES / name, path)
    return path


def each(file: str, commands: tuple[str, ...], *parts: str) -> list[Case]:
    """The same message from several commands."""
    return [Case(file, command, parts) for command in commands]


# files that no command can read as a table, and parts of the message of `read_table`
UNREADABLE: dict[str, tuple[str, ...]] = {
    # cells that are missing, infinite, or no numbers
    "missing.csv": ("1 cell is missing", "line 3, column 'b'", "fill them in", "--drop-na"),
    "nan.csv": ("1 cell is missing", "line 3, column 'b'", "fill them in", "--drop-na"),
    "many_missing.csv": ("5 cells are missing", "line 2, column 'b'", ", ...", "--drop-na"),
    "one_missing.csv": ("1 cell is missing", "line 3, column 'a'", "--drop-na"),
    "nan.npy": ("1 cell is missing", "row 5, column 'x1'", "--drop-na"),
    "nulls.parquet": ("1 cell is missing", "row 2, column 'b'", "--drop-na"),
    "inf.csv": ("line 3, column 'b' is inf", "1 infinite", "correct or remove"),
    "minus_inf.csv": ("line 3, column 'b' is -inf", "1 infinite", "correct or remove"),
    "overflow.csv": ("line 3, column 'b' is inf", "correct or remove"),
    "word.csv": ("line 3, column 'b': 'blue' is not a number", "--columns"),
    "word_after_blank_lines.csv": ("line 5, column 'b': 'abc'", "correct it"),
    "word_after_quoted_break.csv": ("line 4, column 'b\\nc': 'x'", "correct it"),
    "late_word.csv": ("line 5002, column 'b': 'blue' is not a number", "--columns"),
    "date.csv": ("line 2, column 'b': '2020-01-31'", "date or time", "write it as a number", "--columns"),
    "time.csv": ("line 2, column 'b': '12:30:00'", "date or time", "write it as a number"),
    "thousands.csv": ("line 2, column 'a': '1,234,567'", "thousands separators", "write plain digits"),
    "apostrophe_thousands.csv": ("line 2, column 'a': \"1'234'567\"", "thousands separators", "write plain digits"),
    "decimal_comma.csv": ("line 2, column 'a': '1000,5'", "decimal comma", "write a decimal point"),
    "percent.csv": ("line 2, column 'b': '10%'", "not a number", "correct it"),
    "currency.csv": ("line 2, column 'a': '$1000'", "not a number", "correct it"),
    "formula_cell.csv": ("line 2, column 'b': '=1+1'", "not a number", "correct it"),
    "hex.csv": ("line 2, column 'b': '0x1F'", "not a number", "correct it"),
    "underscore.csv": ("line 2, column 'a': '1_000'", "not a number", "correct it"),
    "invisible.csv": ("line 2, column 'b': '\\u202e10'", "not a number", "correct it"),
    "terminal_codes.csv": ("line 2, column 'b\\x1b[31m': 'x\\x1b[2J'", "not a number", "correct it"),
    "long_cell.csv": ("line 2 cannot be cut into cells", "field limit", "shorten the cell"),
    # lines
    "ragged_long.csv": ("line 3 has 4 cells, the header has 3", "give each line the same"),
    "ragged_short.csv": ("line 3 has 2 cells, the header has 3", "give each line the same"),
    "long_line.csv": ("line 2 has 1000001 cells, the header has 3", "give each line the same"),
    "quote_open.csv": ("line 3: a quote opens in this row and no other closes it", "close it"),
    "quote_in_header.csv": ("line 1: a quote opens in this row and no other closes it", "close it"),
    "quote_inside.csv": ("line 2, column 'b': '1\"0'", "not a number", "correct it"),
    # headers
    "zero_bytes.csv": ("empty (0 bytes)", "write a header line"),
    "blank.csv": ("no header and no rows", "write a line of column names"),
    "header_only.csv": ("0 rows", "at least one"),
    "no_rows.parquet": ("0 rows", "at least one"),
    "semicolons.csv": ("'a;b;c' is one column", "semicolons", "with commas"),
    "tabs.csv": ("'a\\tb\\tc' is one column", "tabs", "with commas, or name it .tsv"),
    "bars.csv": ("'a|b|c' is one column", "bars", "with commas"),
    "commas.tsv": ("'a,b,c' is one column", "commas", "with tabs, or name it .csv"),
    "duplicate_header.csv": ("'a' twice, as columns 1 and 3", "rename one"),
    "empty_name.csv": ("column 1 has no name", "name it", "index=False"),
    "no_header.csv": ("line 1 holds numbers (1000, 10, 5)", "write a header line"),
    "gap_first.csv": ("line 1 holds numbers and missing cells (0.7, n/a, 12)", "write a header line", "in quotes"),
    "word_first.csv": ("line 1 holds the number 0.7", "write a header line", "in quotes"),
    "commas_first.csv": ("line 1 holds missing cells ('', '', '')", "write a header line"),
    "all_quoted.csv": ("line 1 holds numbers (7, 1, 12)", "write a header line"),
    "zero_name.parquet": ("'a\\x00' has a zero character", "rename that column"),
    "half_name.npz": ("half of a surrogate pair", "rename that column"),
    # bytes that are no text in UTF-8
    "utf16.csv": ("not UTF-8 text but UTF-16", "save it as CSV in UTF-8"),
    "latin1.csv": ("line 1, byte 0xf6 in 'a,b,gr\\xf6\\xdfe'", "not UTF-8", "save it as UTF-8"),
    "latin1_cell.csv": ("line 3, byte 0xb5 in '1010,10.1,6\\xb5'", "not UTF-8", "save it as UTF-8"),
    "latin1_late.csv": ("line 4, byte 0xfc in '990,9.9,4,gr\\xfcn'", "not UTF-8", "save it as UTF-8"),
    "nul_start.csv": ("not UTF-8 text, it has zero bytes", "save it as CSV in UTF-8"),
    "late_nul.csv": ("line 5002, column 'b': '1\\x00 0'", "not a number", "correct it"),
    "gzip.csv": ("not UTF-8 text but gzip", "unpack it"),
    "parquet.csv": ("not UTF-8 text but Parquet", "name it .parquet"),
    "csv.parquet": ("not readable as .parquet", "write it again"),
    "sheet.xlsx": ("'.xlsx' names no known format", ".csv, .tsv, .parquet"),
    # Parquet and Arrow
    "text.parquet": ("column 'b' holds text such as '9.9' in row 1", "write numbers", "--columns"),
    "nested.parquet": ("column 'b' holds List(Float64) such as '[1.0]' in row 1", "write numbers", "--columns"),
    "structs.parquet": ("column 'b' holds Struct({'x': Float64}) such as \"{'x': 1.0}\" in row 1", "write numbers"),
    "dates.parquet": ("column 'b' holds dates or times such as '2020-01-31' in row 1", "write them as numbers"),
    "flags.parquet": ("column 'b' holds true/false such as 'True' in row 1", "write 1 and 0"),
    "cut.parquet": ("not readable as .parquet", "write it again"),
    "cut.arrow": ("end of the file is missing", "write it again"),
    "stream_cut.arrow": ("end of the file is missing", "write it again"),
    "junk.arrow": ("not readable as .arrow", "write it again"),
    "old.feather": ("not readable as .feather", "write it again"),
    # arrays
    "complex.npy": ("complex numbers", "convert it to float64"),
    "objects.npy": ("Python objects", "convert it to float64"),
    "records.npy": ("records", "convert it to float64"),
    "text.npy": ("text", "convert it to float64"),
    "pickle.npy": ("not a readable NPY array", "numpy.save"),
    "junk.npy": ("not a readable NPY array", "numpy.save"),
    "brackets.npy": ("not a readable NPY array", "numpy.save"),
    "cube.npy": ("shape (9, 3, 2)", "reshape it"),
    "scalar.npy": ("shape ()", "reshape it"),
    "cut.npy": ("shape (9, 3)", "damaged", "write it again"),
    "liar.npy": ("shape (4294967296, 1)", "damaged", "write it again"),
    "negative.npy": ("shape (-2, 3)", "damaged", "write it again"),
    "liar.npz": ("array 'x'", "shape (4294967296, 1)", "write it again"),
    "bomb.npz": ("array 'x' would grow", "as NPY"),
    "bomb_in_parts.npz": ("arrays 'x0', 'x1', 'x2', ... would grow", "as NPY"),
    "same_names.npz": ("two members are called 'x' (x and x.npy)", "rename one"),
    "method.npz": ("not a readable NPZ archive", "write it again"),
    "encrypted.npz": ("not a readable NPZ archive", "write it again"),
    "junk.npz": ("not a readable NPZ archive", "write it again"),
    "objects.npz": ("array 'x' holds Python objects", "convert it to float64"),
    "two_arrays.npz": ("'x' (9, 3), 'y' (4,)", "save one table only"),
    "few_names.npz": ("1 names", "2 columns", "store one for each"),
    "no_names.npz": ("'columns' is not a list of names", "1-D array of text"),
    # what is no file, or may not be read
    "pipe.csv": ("not an ordinary file", "copy its content"),
    "absent.csv": ("no such file", "check the name"),
    "hanging.csv": ("no such file", "check the name"),
    "circle.csv": ("no such file", "check the name"),
    "unreadable.csv": ("cannot be read (Permission denied)", "check its permissions"),
}

# faults that every command must detect, in modelled and in context columns
_IN_ALL = ("missing.csv", "nan.csv", "inf.csv", "minus_inf.csv", "word.csv", "ragged_long.csv", "ragged_short.csv",
           "header_only.csv", "absent.csv")  # fmt: skip
_IN_BATCHES = ("late_word.csv", "quote_open.csv", "latin1_late.csv", "late_nul.csv", "utf16.csv", "cut.arrow",
               "nulls.parquet", "text.parquet")  # fmt: skip

REFUSED = [
    *(Case(file, FIT, parts) for file, parts in UNREADABLE.items() if file not in _IN_ALL),
    *(case for file in _IN_ALL for case in each(file, EVERYWHERE, *UNREADABLE[file])),
    *(Case(file, SCORE, UNREADABLE[file]) for file in _IN_BATCHES),
    # the column with the quote is not read: without this error the rows after it would be lost silently
    *each("quote_to_the_end.csv", (SCORE, CHECK), *UNREADABLE["quote_open.csv"]),
    *each("stray_quotes.csv", (SCORE, CHECK), "line 3: a quote opens a cell", "text follows", "on line 4", "twice"),
    *each("swallowed_rows.csv", (SCORE, CHECK), "line 3: a quoted cell", "'990,9.9,4,left valve'", "close the quote"),
    *each("swallowed_header.csv", (SCORE, CHECK), "line 1: a quoted cell", "'1000,10,5,ok'", "close the quote"),
    *each("folder.csv", (SCORE, COMPARE, CHECK), "this is a folder", "name a file"),
    Case("all_missing.csv", FIT + " --drop-na", ("every row has a missing cell", "--columns")),
    Case("inf.csv", FIT + " --drop-na", ("line 3, column 'b' is inf", "correct or remove")),
    # columns and rows without a density
    *each("constant.csv", (FIT, COMPARE), "'b' is 3.0 in all 60 rows", "--columns", "--column b=constant"),
    Case("constant.csv", FIT_CONDITIONAL, ("'b' is 3.0 in all 60 rows", "--columns")),
    Case("all_constant.csv", FIT + " --column a=constant --column b=constant", ("nothing is left", "fewer constants")),
    *each("dependent.csv", (FIT + " --quiet", COMPARE + " --quiet"), "'a', 'b', 'c'", "linearly dependent", "Drop one"),
    Case("one_row.csv", FIT, ("at least 2 rows", "got 1", "add rows")),
    # values outside a declared column type: the row number is that in the file, whatever is dropped or held out
    Case("constant_other.csv", FIT + " --column b=constant", ("'b'", "3 in every row", "got 4 at row 2", "1 of 60")),
    *each("on_the_bound.csv", (FIT + " --column b=bounded:0:1", COMPARE + " --column b=bounded:0:1"),
          "'b'", "inside (0, 1)", "got 1 at row 7", "1 of 60", "bounded:0:1+rounded:STEP"),
    *each("bound_and_gap.csv", tuple(command + " --drop-na --column b=bounded:0:1" for command in (FIT, COMPARE)),
          "'b'", "inside (0, 1)", "got 1 at row 7", "1 of 7", "bounded:0:1+rounded:0.1"),
    Case("plain.csv", FIT + " --column a=positive", ("'a'", "above 0", "got -0.274138 at row 2", "Correct these rows")),
    *(Case("not_counts.csv", f"{FIT} --column b={kind}", ("'b'", "whole numbers", "got 2.5 at row 5", "1 of 60"))
      for kind in ("count", "category", "whole")),
    Case("plain.csv", FIT + " --column z=positive", ("no column 'z'", "name one of 'a', 'b'")),
    Case("plain.csv", FIT + " --column a=postive", ("'a'", "expected one of", "positive", "got 'postive'")),
    Case("plain.csv", FIT + " --column a=bounded:1:0", ("'a'", "lower end", "got 1 and 0", "exchange them")),
    Case("plain.csv", FIT + " --unit z=cm", ("no column 'z'", "name one of 'a', 'b'")),
    # tables without the requested columns
    *each("renamed.csv", (SCORE, CHECK, SCORE_CONDITIONAL, CHECK_CONDITIONAL), "no column 'c'", "did you mean 'C'"),
    *each("lacking.csv", (SCORE, CHECK, SCORE_CONDITIONAL, CHECK_CONDITIONAL),
          "no column 'c'", "the file has 'a', 'b'"),
    Case("narrow.npy", SCORE, ("no column 'a'", "the file has 'x0', 'x1'")),
    Case("terminal_name.csv", SCORE, ("no column 'a'", "the file has 'a\\x1b]0;owned\\x07'")),
    Case("good.csv", FIT + " --columns a,z", ("no column 'z'", "the file has 'a', 'b', 'c'")),
    Case("good.csv", FIT + " --context z", ("no column 'z'", "the file has 'a', 'b', 'c'")),
    Case("good.csv", FIT + " --columns a,b --context b", ("'b' is selected twice", "one role")),
    Case("good.csv", FIT + " --context a,b,c", ("no column is left", "fewer context columns")),
    # tables in place of models
    *(Case("good.csv", name + " FILE", ("good.csv",)) for name in ("show", "check", "sample")),
    *(Case("zero_bytes.csv", name + " FILE", ("zero_bytes.csv",)) for name in ("show", "check", "sample")),
    Case("folder.csv", "show FILE", ("folder",)),
]  # fmt: skip

# good tables in unusual formats: `score` gives their rows the same bits as those of good.csv
UNUSUAL = ("bom.csv", "crlf.csv", "spaces.csv", "blank_lines.csv", "reordered.csv", "extra.csv", "inch_marks.csv",
           "quoted_names.csv", "even_inch_marks.csv", "line_breaks.csv", "carriage_returns.csv",
           "pattern_names.parquet")  # fmt: skip
# unusual arrays of real numbers, which a model of three numbered columns can score
ARRAYS = ("half.npy", "fortran.npy", "whole.npy", "outside.npz")

_WROTE = "wrote m.safetensors"
FITTED = [
    Case("duplicates.csv", FIT, ("values repeat in columns", "75% of rows repeat a value", "rounded:STEP", _WROTE), 0),
    Case("two_rows.csv", FIT, ("2 rows are too few to hold some out", "early stopping", _WROTE), 0),
    Case("offset.csv", FIT, (_WROTE,), 0),
]
FITTED_SLOWLY = [
    Case("plain.csv", FIT, (_WROTE,), 0),
    Case("huge.csv", FIT, (_WROTE,), 0),
    Case("tiny.csv", FIT, (_WROTE,), 0),
    Case("mixed.csv", FIT, (_WROTE,), 0),
    Case("three_rows.csv", FIT, ("3 rows are too few to hold some out", _WROTE), 0),
    Case("nineteen_rows.csv", FIT, ("19 rows are too few to hold some out", _WROTE), 0),
    Case("wide.csv", FIT, ("rows in 24 dimensions", "Use more rows or fewer columns", _WROTE), 0),
    Case("copies_of_two.csv", FIT, ("2 different values in 60 rows", "rounded to", _WROTE), 0),
    Case("cauchy.csv", FIT, ("heavy tails", _WROTE), 0),
    Case("cauchy.csv", FIT + " --plain", (_WROTE,), 0),
    Case("shares.csv", FIT + " --column b=bounded:0:1", ("bounded, 0 to 1", "declared", _WROTE), 0),
    Case("counts.csv", FIT, ("rounded to 1", "detected", _WROTE), 0),
    Case("counts.csv", FIT + " --column b=count", ("above -0.5; rounded to 1", "declared", _WROTE), 0),
    Case("counts.csv", FIT + " --column b=category", ("rounded to 1", "declared", _WROTE), 0),
    Case("formula_names.csv", FIT, ("=1+1, @x", _WROTE), 0),
]

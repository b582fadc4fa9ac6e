"""How often words of the old dialect stand in the sources: identifiers, docstrings, comments and messages.

    python tools/words.py [FOLDER ...]        folders to count in, src/pushforward if none is named

Words that English or the field needs in other senses too are counted as names only (whole identifiers or their parts).
"""

import argparse
import collections
import io
import re
import tokenize
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src" / "pushforward"

# As parts of names: `held_rows` counts for "held".
NAMES = {
    "law": "transformer",
    "place": "index, position, rank",
    "in_order": "parameters",
    "told": "report, format, describe",
    "tell": "report, format, describe",
    "telling": "report, format, describe",
    "says": "report, format, describe",
    "words": "message",
    "found": "result",
    "inside": "unwrap",
    "around": "wrap",
    "inward": "transform",
    "outside": "out_of_support",
    "whole": "integer, all",
    "within": "clip",
    "held": "validation, straight_through_clip",
    "kept": "snapshot",
    "taken": "extract",
    "given": "conditioned, context",
    "passed": "layer inputs",
    "turned": "inverted",
    "beside": "baseline",
    "merged": "combined",
    "course": "train state, history",
    "memory": "optimiser state",
    "caution": "learning-rate scale",
    "streak": "consecutive bad steps",
    "lesson": "loss configuration",
    "aim": "target loss",
    "contest": "fold",
    "turn": "solver step",
    "walk": "backward pass",
    "finished": "result",
    "seen": "",
    "wanted": "",
    "begin": "init_state",
    "advanced": "update",
    "restored": "restore",
    "floor": "baseline log-likelihood",
    "nats": "log_likelihood",
    "sweeps": "iterations",
    "settled": "converged",
    "turns": "iterations",
    "image": "forward value (of a map)",
    "bends": "nonlinearity",
    "strength": "scale",
    "stretch": "scale",
    "neighbours": "im2col",
    "stacked": "im2col",
    "summed": "col2im",
    "shaken": "perturbed",
    "probe": "test points, stored scores",
    "takes_part": "has_hook",
    "prepared": "compiled",
    "stays_there": "is_on_device",
    "score_one": "log_prob_one",
    "draw_one": "sample_one",
    "score_rows": "log_prob_batch",
    "draw_rows": "sample_batch",
    "room": "package, module",
    "house": "package",
    "kin": "",
    "remedy": "fix",
    "sentence": "message",
    "sort": "kind",
}
# In running text: phrases that have no other sense here.
PHRASES = {
    "law": r"\blaws?\b",
    "place": r"\bplaces?\b",
    "told": r"\b(?:is|are|be|was) told\b|\btells?\b",
    "held-out nats": r"\bheld-out nats\b",
    "held": r"\bis held\b|\bare held\b|\bheld against\b",
    "kept": r"\bkept\b",
    "taken": r"\btaken\b",
    "given": r"\bwhat is given\b",
    "beside": r"\bbeside\b",
    "found": r"\bwhat is found\b|\bis found\b",
    "house, room, noun, verbs": r"\b(?:house|rooms?|nouns?|verbs?)\b",
    "a sentence": r"\bsentences?\b",
    "kin, its own, of their own": r"\bkin\b|\bof (?:its|their|your) own\b|\banother's\b",
    "remedy": r"\bremed(?:y|ies)\b",
    "bend, strength, stretch": r"\b(?:bends?|stretch(?:es|ed)?)\b",
    "sweep, settled": r"\bsweeps?\b|\bsettled\b",
    "course": r"\bcourse\b",
}


def count(paths: list[Path]) -> tuple[collections.Counter, collections.Counter]:
    """Parts of names, and phrases in docstrings, comments and other text."""
    names: collections.Counter = collections.Counter()
    phrases: collections.Counter = collections.Counter()
    parts = {word: re.compile(rf"(?:^|_){word}(?:$|_)") for word in NAMES}
    for path in paths:
        with io.StringIO(path.read_text(encoding="utf-8")) as text:
            for token in tokenize.generate_tokens(text.readline):
                if token.type == tokenize.NAME:
                    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", token.string).lower()
                    names.update(word for word, pattern in parts.items() if pattern.search(name))
                elif token.type in (tokenize.STRING, tokenize.COMMENT) or token.type == getattr(
                    tokenize, "FSTRING_MIDDLE", -1
                ):
                    for word, pattern in PHRASES.items():
                        phrases[word] += len(re.findall(pattern, token.string))
    return names, phrases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[SOURCE])
    paths = sorted(path for folder in parser.parse_args().folders for path in folder.rglob("*.py"))
    names, phrases = count(paths)
    print(f"{'as part of a name':28}{'count':>6}  write")
    for word in sorted(NAMES, key=lambda word: -names[word]):
        print(f"{word:28}{names[word]:6}  {NAMES[word]}")
    print(f"{'all names':28}{names.total():6}\n\n{'in text':28}{'count':>6}")
    for word in sorted(PHRASES, key=lambda word: -phrases[word]):
        print(f"{word:28}{phrases[word]:6}")
    print(f"{'all text':28}{phrases.total():6}")


if __name__ == "__main__":
    main()

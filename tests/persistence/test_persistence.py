"""Model files: what is loaded equals what was saved, and no damaged or hostile file gets through."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from sampling import quick_few

import pushforward as pf
from pushforward.bijections import Affine, Chain, Elementwise, Standardise, Whiten
from pushforward.core.bijection import AbstractBijection
from pushforward.errors import ModelFileError
from pushforward.numerics.programs import PROGRAMS, flatten
from pushforward.persistence import files as files_module
from pushforward.persistence import load, read_notes, save, stored_scores
from pushforward.persistence.container import Spec, pack, read
from pushforward.persistence.tree import classes_of, decode, registry

CONTEXT = 2
SIZES = {"width": 8, "depth": 1, "n_layers": 2}
NOTES = {"columns": ["height", "weight"], "seed": 3, "held_out": -1.25, "context_columns": []}
FLOWS = {
    "elementwise_flow": lambda: pf.elementwise_flow(2, key=0, **SIZES),
    "elementwise_flow context": lambda: pf.elementwise_flow(1, key=0, context_dim=CONTEXT, **SIZES),
    "nice": lambda: pf.nice(3, key=0, **SIZES),
    "real_nvp context": lambda: pf.real_nvp(3, key=0, context_dim=CONTEXT, **SIZES),
    "real_nvp lu": lambda: pf.real_nvp(2, key=0, mixing="lu", **SIZES),
    "nsf": lambda: pf.nsf(2, key=0, **SIZES),
    "nsf residual": lambda: pf.nsf(3, key=0, context_dim=CONTEXT, residual=True, dropout=0.1, **SIZES),
    "coupling_flow": lambda: pf.coupling_flow(3, key=0, transformer="sinh_arcsinh", **SIZES),
    "given": lambda: pf.real_nvp(2, key=0, context_dim=CONTEXT, **SIZES).given(jnp.ones(CONTEXT)),
    "base alone": lambda: pf.bases.Normal((2,), loc=1.0, scale=2.0),
}


class Stretch(AbstractBijection):
    """A layer of a caller: x = exp(rate) z, with unusual types of fields."""

    rate: jax.Array
    offset: np.ndarray
    options: list
    label: str = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    context_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, rate):
        self.rate, self.offset, self.options = jnp.asarray(rate, jnp.float32), np.array([1 / 3, 2 / 3]), [1, None, "a"]
        self.label, self.shape, self.context_shape = 'ünïcode " \\ \n', (2,), None

    def __check_init__(self):
        if self.rate.shape != ():
            raise ValueError(f"rate: expected one number, got shape {self.rate.shape}.")

    def forward_and_log_det(self, z, context=None, *, key=None):
        return z * jnp.exp(self.rate), 2 * self.rate

    def inverse_and_log_det(self, x, context=None, *, key=None):
        return x * jnp.exp(-self.rate), -2 * self.rate


class WithFunction(Stretch):
    act: object

    def __init__(self):
        super().__init__(0.0)
        self.act = lambda x: x


def randomised(flow, seed=0):
    """Every trained leaf perturbed, so that exchanged parts of a flow are detected."""
    random = np.random.default_rng(seed)
    trained, rest = eqx.partition(flow, pf.trainable(flow))
    moved = jax.tree.map(lambda a: jnp.asarray(np.asarray(a) + 0.3 * random.normal(size=a.shape), a.dtype), trained)
    return eqx.combine(moved, rest)


def leaves(flow):
    return [(type(a), a.dtype, a.shape, np.asarray(a).tobytes()) for a in flatten(flow)[0]]


def same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and flatten(a)[1] == flatten(b)[1] and leaves(a) == leaves(b)


def scores(flow):
    random = np.random.default_rng(1)
    x = random.normal(size=(5, *flow.shape))
    context = None if flow.context_shape is None else random.normal(size=flow.context_shape)
    samples, log_prob = flow.sample_and_log_prob(4, key=2, context=context)
    return [np.asarray(v).tobytes() for v in (flow.log_prob(x, context), samples, log_prob)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The bytes of a small file with every type of part: stacked layers, orders, NumPy float64, notes."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    flow = randomised(pf.real_nvp(2, key=0, width=2, depth=1, n_layers=2))
    filled = Standardise((2,)).filled(np.array([0.1, -1e9]), np.array([1 / 3, 1e-9]))
    flow = pf.Flow(flow.base, Chain([flow.bijection.bijections[0], filled]))
    save(path, flow, notes={"a": 1})
    return flow, path.read_bytes()


def parts(content):
    """The outer header, the inner one and the tensors' bytes of a file."""
    length = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + length])
    return outer, json.loads(outer["__metadata__"]["pushforward"]), content[8 + length :]


def joined(outer, body, inner=None):
    if inner is not None:
        outer = {**outer, "__metadata__": {"pushforward": inner if isinstance(inner, str) else json.dumps(inner)}}
    text = json.dumps(outer).encode() if isinstance(outer, dict) else outer
    return len(text).to_bytes(8, "little") + text + body


def refused(path, content=None, **options):
    """The error message for a file."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert message.endswith(".")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", quick_few(FLOWS, "nsf residual", "given", "base alone"))
def test_loaded_flow_equals_saved_flow(name, tmp_path):
    flow = randomised(FLOWS[name]())
    save(tmp_path / "flow", flow, notes=NOTES)
    loaded = load(tmp_path / "flow")
    assert same(flow, loaded)
    assert read_notes(tmp_path / "flow") == NOTES
    save(tmp_path / "again", loaded, notes=NOTES)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "flow").read_bytes()


def compiled_programs():
    return sum(program._cache_size() for program in PROGRAMS.programs.values())


@pytest.mark.parametrize("name", ["nsf", "real_nvp context"])
def test_loaded_flow_scores_bit_for_bit_and_compiles_nothing(name, tmp_path):
    flow = randomised(FLOWS[name]())
    before = scores(flow)
    save(tmp_path / "flow", flow)
    compiled = compiled_programs()
    assert scores(load(tmp_path / "flow")) == before
    assert compiled_programs() == compiled


def test_standardisation_stays_in_double_precision(tmp_path):
    layer = Standardise((2,)).filled(np.array([1 / 3, 1e12 + 1 / 3]), np.array([1e-7, 2 / 3]))
    save(tmp_path / "flow", pf.Flow(pf.bases.Normal((2,)), layer))
    loaded = load(tmp_path / "flow").bijection
    assert isinstance(loaded.mean, np.ndarray)
    assert loaded.mean.dtype == np.float64
    assert loaded.mean.tobytes() == layer.mean.tobytes()
    assert loaded.mean.flags.writeable


def test_layer_of_the_caller_is_loaded_with_extra(tmp_path):
    flow = pf.Flow(pf.bases.Normal((2,)), Chain([Stretch(0.5), Elementwise(Affine(), (2,))]))
    save(tmp_path / "flow", flow)
    assert same(flow, load(tmp_path / "flow", extra=(Stretch,)))
    assert "Stretch" in refused(tmp_path / "flow")
    assert "extra=" in refused(tmp_path / "flow")
    with pytest.raises(TypeError, match="extra"):
        load(tmp_path / "flow", extra=(AbstractBijection,))


def test_bfloat16_and_empty_arrays_round_trip(tmp_path):
    flow = pf.bases.Normal((2,))
    flow = eqx.tree_at(lambda f: (f.loc, f.scale), flow, (jnp.zeros(2, jnp.bfloat16), jnp.ones(2, jnp.bfloat16)))
    save(tmp_path / "flow", flow)
    assert same(flow, load(tmp_path / "flow"))
    specs = {name: Spec("bfloat16", (2,)) for name in ("loc", "scale")}
    assert read(tmp_path / "flow", lambda header: {**specs, **stored_scores.parse_specs(header["probe"])})[1].keys() > {
        "loc"
    }
    empty = eqx.tree_at(lambda s: s.offset, Stretch(0.0), np.zeros((0, 3)))
    save(tmp_path / "empty", pf.Flow(pf.bases.Normal((2,)), empty))
    assert load(tmp_path / "empty", extra=(Stretch,)).bijection.offset.shape == (0, 3)


def test_registry_has_every_concrete_module():
    def below(cls):
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    clients = ("pushforward.numpyro.", "pushforward.flowjax.")  # passed as extra=
    ours = {
        c for c in below(eqx.Module) if c.__module__.startswith("pushforward.") and not c.__module__.startswith(clients)
    }
    known = set(registry().values())
    missing = {cls.__name__ for cls in ours - known if not cls.__name__.startswith(("Abstract", "_"))}
    assert missing == set()
    assert all(not cls.__name__.startswith("Abstract") for cls in known)


def test_values_that_a_file_cannot_store_are_errors_in_saving(tmp_path):
    path = tmp_path / "flow"
    normal = pf.bases.Normal((2,))
    bad = eqx.tree_at(lambda f: f.bijection.rate, pf.Flow(normal, Stretch(0.0)), jnp.asarray(jnp.nan))
    with pytest.raises(ModelFileError, match=r"bijection.rate holds 1 of 1 numbers that are NaN or infinite"):
        save(path, bad)
    with pytest.raises(ModelFileError, match=r"bijection.act is the function .*lambda.*`def`.*extra="):
        save(path, pf.Flow(normal, WithFunction()))
    with pytest.raises(ModelFileError, match="a random key"):
        save(path, pf.Flow(normal, eqx.tree_at(lambda s: s.rate, Stretch(0.0), jax.random.key(0))))
    with pytest.raises(ModelFileError, match=r"Stretch at bijection is invalid \(rate: expected one number"):
        save(path, pf.Flow(normal, eqx.tree_at(lambda s: s.rate, Stretch(0.0), jnp.zeros(3))))
    for notes in ({"a": np.ones(2)}, {"a": float("nan")}, {"a": {1: 2}}, {"a": (1, 2)}):
        with pytest.raises(ModelFileError, match="notes: expected"):
            save(path, normal, notes=notes)
    with pytest.raises(TypeError, match="flow"):
        save(path, {"weights": 1})
    assert list(tmp_path.iterdir()) == []


def test_paths_that_cannot_be_written_are_errors(tmp_path):
    normal = pf.bases.Normal((2,))
    with pytest.raises(ModelFileError, match="is a folder"):
        save(tmp_path, normal)
    with pytest.raises(ModelFileError, match="does not exist"):
        save(tmp_path / "nowhere" / "flow", normal)
    save(tmp_path / "flow", normal)
    with pytest.raises(ModelFileError, match="exists already"):
        save(tmp_path / "flow", normal, overwrite=False)
    assert (tmp_path / "flow").stat().st_mode & 0o400


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_the_old_file(stop, tmp_path, monkeypatch):
    path = tmp_path / "flow"
    save(path, pf.bases.Normal((2,)))
    old = path.read_bytes()

    def interrupted(_):
        raise stop

    monkeypatch.setattr(files_module.os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt if stop is KeyboardInterrupt else ModelFileError):
        save(path, pf.bases.Normal((3,)))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_truncated_files_are_refused(tiny, tmp_path):
    _, content = tiny
    path = tmp_path / "cut"
    for end in [*range(0, len(content), 64), len(content) - 1]:
        refused(path, content[:end])
    refused(path, content + b"\0")


@pytest.mark.slow
def test_single_flipped_bits_are_refused_or_change_nothing(tiny, tmp_path):
    flow, content = tiny
    path, random = tmp_path / "flipped", np.random.default_rng(0)
    length = 8 + int.from_bytes(content[:8], "little")
    positions = [*range(16), *random.integers(8, length, 400), *random.integers(length, len(content), 100)]
    n_refused = 0
    for position in positions:
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        try:
            loaded = load(path)
        except ModelFileError:
            n_refused += 1
        else:
            assert same(loaded, flow)
    assert n_refused > 0.9 * len(positions)


@pytest.mark.slow
def test_every_flipped_byte_of_the_header_and_a_thousand_of_the_body(tiny, tmp_path):
    flow, content = tiny
    path, random = tmp_path / "flipped", np.random.default_rng(0)
    length = 8 + int.from_bytes(content[:8], "little")
    for position in [*range(length), *random.integers(length, len(content), 1000)]:
        flipped = bytearray(content)
        flipped[position] ^= int(random.integers(1, 256))
        path.write_bytes(flipped)
        try:
            loaded = load(path)
        except ModelFileError:
            continue
        assert same(loaded, flow)


def test_files_of_other_kinds(tmp_path):
    path = tmp_path / "model.safetensors"
    assert "does not exist" in refused(path)
    assert "folder" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not an ordinary file" in refused(tmp_path / "pipe")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights", b"\0" * 10_000_000)
    for content in (b"", b"1234567", pickle.dumps({"weights": [1.0] * 100}), packed.getvalue(), b"a,b\n1,2\n" * 99):
        refused(path, content)
    assert "is not a pushforward model" in refused(path, safetensors.numpy.save({"a": np.ones(3)}))
    with pytest.raises(ModelFileError, match="does not exist"):
        read_notes(tmp_path / "nothing")


def test_links_and_relative_paths(tiny, tmp_path):
    """Links and paths with dots lead to files; the file is checked, not its name."""
    flow, content = tiny
    (tmp_path / "folder").mkdir()
    (tmp_path / "flow").write_bytes(content)
    (tmp_path / "link").symlink_to(tmp_path / "flow")
    assert same(load(tmp_path / "folder" / ".." / "link"), flow)
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")
    assert "does not exist" in refused(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop")
    (tmp_path / "to_folder").symlink_to(tmp_path / "folder")
    assert "folder" in refused(tmp_path / "to_folder")


@pytest.mark.parametrize("suffix", [".pt", ".keras", ".npz", ".pkl"])
def test_other_formats_under_their_own_names(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(np.ones(100)))
    elif suffix == ".npz":
        np.savez(path, np.ones(100))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"weights": 1}))
            archive.writestr("config.json", '{"module": "os", "class_name": "system"}')
    refused(path)


def test_hostile_files_are_refused_quickly_and_in_little_memory(tiny, tmp_path):
    """The slowest kinds in a process of their own: the seconds of CPU and the growth of its memory, JAX loaded before.

    Limits of 1 s and 200 MB; the time is CPU time, the shortest of three: a core that is shared with others doubles it.
    """
    outer, inner, body = parts(tiny[1])
    header = (100 << 20).to_bytes(8, "little")
    with (tmp_path / "long header").open("wb") as file:
        file.write(header)
        file.truncate(101 << 20)
    with (tmp_path / "hole").open("wb") as file:  # a sparse file of 64 GiB whose header is short
        file.write(tiny[1])
        file.truncate(64 << 30)
    (tmp_path / "deep").write_bytes(joined(b"[" * (8 << 20), body))
    many = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(90_000)}
    (tmp_path / "many").write_bytes(joined({**outer, **many}, body))
    node = inner["flow"]["fields"]["base"]
    (tmp_path / "wide").write_bytes(joined(outer, body, {**inner, "flow": [node] * 30_000}))
    (tmp_path / "huge").write_bytes(forged(tiny[1], FORGERIES["a billion units"][0]))
    code = (
        "import json, resource, sys, time\n"
        "import jax, pushforward as pf\n"
        "pf.load(sys.argv[1])\n"
        "for path in sys.argv[2:]:\n"
        "    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []\n"
        "    for _ in range(3):\n"
        "        start = time.process_time()\n"
        "        try:\n"
        "            pf.load(path)\n"
        "        except ValueError as error:\n"
        "            times.append(time.process_time() - start)\n"
        "            message = str(error)\n"
        "    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "    print(json.dumps([path, min(times), len(times), grown, message]))\n"
    )
    (tmp_path / "good").write_bytes(tiny[1])
    names = ["long header", "hole", "deep", "many", "wide", "huge"]
    paths = [str(tmp_path / name) for name in ("good", *names)]
    ran = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line[0] for line in lines] == paths[1:]
    for path, seconds, refusals, kilobytes, message in lines:
        assert refusals == 3
        assert seconds < 1.0, (path, seconds, message)
        assert kilobytes < 200_000, (path, kilobytes, message)


OLD_FILES = sorted((Path(__file__).resolve().parents[1] / "files").glob("*.safetensors"))
TRAINED = ("linear-0.1.0", "maf-0.1.0", "nsf-0.1.0")


def test_every_class_has_an_old_file():
    """One of these files detects a class or field that is renamed."""
    with jax.enable_x64(True):
        contents = [(read(path)[0], safetensors.numpy.load_file(path)) for path in OLD_FILES]
        modules = [decode(header["flow"], registry(), tensors) for header, tensors in contents]
    classes = {cls for module in modules for cls in classes_of(module)}
    ours = {cls for cls in registry().values() if cls.__module__.startswith("pushforward.")}
    assert not ours - classes, "run python tests/files/write.py"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if path.stem in TRAINED else pytest.mark.slow, id=path.stem) for path in OLD_FILES],
)
def test_old_files_score_the_same(path):
    """Every old model stays readable. Scores agree to 1e-10 in double precision, 1e-4 in single."""
    expected = json.loads(path.with_suffix(".json").read_text())
    with jax.enable_x64(expected["dtype"] == "float64"):
        flow = load(path)
        context = None if expected["context"] is None else np.array(expected["context"])
        scores = np.asarray(flow.log_prob(np.array(expected["x"]), context), np.float64)
    tolerance = 1e-10 if expected["dtype"] == "float64" else 1e-4
    np.testing.assert_allclose(scores, expected["log_prob"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("change", ["formula", "scores", "points"])
def test_flow_with_other_scores_than_stored_is_refused(change, tmp_path, monkeypatch):
    """As by another version: numbers and hash are right, but the scores differ from the stored ones."""
    layer = Standardise((2,)).filled(np.array([0.1, -3.0]), np.array([0.5, 2.0]))
    flow, path = pf.Flow(pf.bases.Normal((2,)), layer), tmp_path / "flow"
    save(path, flow)
    if change == "formula":
        inverse = Standardise.inverse_and_log_det
        monkeypatch.setattr(
            Standardise, "inverse_and_log_det", lambda self, x, *a, **k: inverse(self, x + 0.1 * self.scale, *a, **k)
        )
        jax.clear_caches()
    elif change == "scores":
        path.write_bytes(forged(path.read_bytes(), _tensor("probe/log_prob", lambda a: a + np.float32(0.1))))
    else:
        path.write_bytes(forged(path.read_bytes(), _tensor("probe/x", lambda a: a * np.float32(np.inf))))
    message = refused(path)
    assert ("cannot be scored" if change == "points" else "computes another flow") in message
    assert same(load(path, verify=False), flow)
    jax.clear_caches()


def test_a_flow_that_cannot_be_sampled_is_saved_with_a_warning(tmp_path):
    flow = pf.Flow(pf.bases.Normal((2,)), Stretch(200.0))
    with pytest.warns(UserWarning, match="cannot be scored"):
        save(tmp_path / "flow", flow)
    assert same(load(tmp_path / "flow", extra=(Stretch,)), flow)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 100 << 20, 0])
def test_wrong_header_lengths_are_refused(length, tiny, tmp_path):
    _, content = tiny
    start = time.monotonic()
    refused(tmp_path / "lie", length.to_bytes(8, "little") + content[8:])
    assert time.monotonic() - start < 5.0


def test_strict_json(tiny, tmp_path):
    _, content = tiny
    outer, inner, body = parts(content)
    text, path = json.dumps(inner), tmp_path / "flow"
    assert json.loads(text) == inner
    assert same(load_bytes(path, joined(outer, body, inner)), tiny[0])  # only quoted in another way
    assert "a key twice" in refused(path, joined(outer, body, '{"format": "x", ' + text[1:]))
    assert "a key twice" in refused(path, joined(json.dumps(outer).encode()[:-1] + b', "__metadata__": {}}', body))
    assert "NaN" in refused(path, joined(outer, body, text.replace('"notes": {"a": 1}', '"notes": {"a": NaN}')))
    assert "1e999" in refused(path, joined(outer, body, text.replace('"notes": {"a": 1}', '"notes": {"a": 1e999}')))
    assert "levels deep" in refused(path, joined(b"[" * 100_000, body))
    deep = json.loads("[" * 150 + "]" * 150)
    assert "levels deep" in refused(path, joined(outer, body, {**inner, "flow": deep}))
    refused(path, joined(outer, body, '{"a": ' + "9" * 10_000 + "}"))
    refused(path, joined(outer, body, text + "x"))
    refused(path, joined(b"\xff\xfe", body))


def load_bytes(path, content):
    path.write_bytes(content)
    return load(path)


def forged(content, change):
    """A file with a changed header and a new hash, as a hostile author would write."""
    _, inner, _ = parts(content)
    tensors = safetensors.numpy.load(content)
    del inner["sha256"]
    change(inner, tensors)
    return pack(inner, tensors)


def layers(inner):
    return inner["flow"]["fields"]["bijection"]["fields"]["bijections"][0]["fields"]


def coupling(inner):
    return layers(inner)["layers"]["fields"]


def _set(where, name, value):
    def change(inner, tensors):
        where(inner)[name] = value

    return change


def _whole(inner):
    return inner


def _tensor(name, function):
    def change(inner, tensors):
        tensors[name] = function(tensors[name].copy())

    return change


ORDER = "bijection.bijections.0.layers.order"
WEIGHT = "bijection.bijections.0.layers.network.out_weight"
SCALE = "bijection.bijections.1.scale"
FORGERIES = {
    "unknown class": (_set(lambda i: i["flow"], "class", "os.system"), "os.system"),
    "abstract class": (_set(lambda i: i["flow"], "class", "AbstractDistribution"), "unknown class"),
    "class of another library": (_set(lambda i: i["flow"], "class", "optax.Adam"), "unknown class"),
    "another part as a flow": (lambda i, t: (i.update(flow=7, probe={}), t.clear()), "expected a flow"),
    "unknown version": (_set(_whole, "format_version", 3), "format version 3"),
    "version as a truth value": (_set(_whole, "format_version", True), "format version True"),
    "unknown key": (_set(_whole, "code", "x"), "keys"),
    "unknown field": (_set(coupling, "code", None), "fields"),
    "field missing": (lambda i, t: coupling(i).pop("network"), "fields"),
    "unknown node": (_set(coupling, "network", {"import": "os"}), "unknown keys"),
    "other precision": (_set(_whole, "dtype", "float16"), "float16"),
    "notes of another kind": (_set(_whole, "notes", [1]), "notes"),
    "text for a network": (_set(coupling, "network", "os.system"), "cannot have"),
    "text for a number": (_set(coupling, "n_transformed", "1"), "cannot have"),
    "truth value for a number": (_set(coupling, "n_transformed", True), "cannot have"),
    "array among static fields": (
        lambda i, t: coupling(i).update(shape=i["flow"]["fields"]["base"]["fields"]["loc"]), "is not valid",
    ),
    "other sizes": (_set(coupling, "n_transformed", 2), "invalid"),
    "a billion layers": (_set(layers, "n_layers", 10**9), "expected a number from 0 to 10,000"),
    "three layers": (_set(layers, "n_layers", 3), "does not hold"),
    "no layers": (_set(layers, "n_layers", 0), "does not hold"),
    "a billion units": (
        lambda i, t: coupling(i)["network"]["fields"]["out_weight"].update(shape=[2, 10**9, 10]), "configuration needs",
    ),
    "endless shape": (
        lambda i, t: coupling(i)["network"]["fields"]["out_weight"].update(shape=[2**47, 2**47]), "invalid shape",
    ),
    "negative shape": (
        lambda i, t: coupling(i)["network"]["fields"]["out_weight"].update(shape=[-1, -16]), "invalid shape",
    ),
    "another name of a tensor": (
        lambda i, t: coupling(i)["network"]["fields"]["out_weight"].update(array=ORDER), "is not valid",
    ),
    "tensor missing": (lambda i, t: t.pop(WEIGHT), "configuration needs"),
    "one tensor more": (lambda i, t: t.update(more=np.ones(3)), "configuration needs"),
    "transposed tensor": (_tensor(WEIGHT, lambda a: a.transpose(0, 2, 1, 3).copy()), "configuration needs"),
    "NaN weights": (_tensor(WEIGHT, lambda a: a * np.float32(np.nan)), "NaN"),
    "infinite scale": (_tensor(SCALE, lambda a: a * np.inf), "NaN or infinite"),
    "negative scale": (_tensor(SCALE, lambda a: -a), "not positive"),
    "no permutation": (_tensor(ORDER, lambda a: a * 0), "not a permutation"),
    "out of range": (_tensor(ORDER, lambda a: a + 1000), "not a permutation"),
    "unknown activation": (
        lambda i, t: coupling(i)["network"]["fields"].update(activation="__import__('os')"), "activation",
    ),
    "singular transformer": (_set(lambda i: coupling(i)["transformer"]["fields"], "log_bound", -5.0), "log_bound"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_forged_files_are_refused(name, tiny, tmp_path):
    change, message = FORGERIES[name]
    assert message in refused(tmp_path / "forged", forged(tiny[1], change))


def test_forgery_without_a_change_is_read(tiny, tmp_path):
    assert same(load_bytes(tmp_path / "copy", forged(tiny[1], lambda inner, tensors: None)), tiny[0])


def test_whitening_without_a_valid_factor_is_refused(tmp_path):
    layer = Whiten(2).filled(np.zeros(2), np.array([[1.0, 0.0], [0.5, 2.0]]))
    save(tmp_path / "flow", pf.Flow(pf.bases.Normal((2,)), layer))
    content = (tmp_path / "flow").read_bytes()
    for matrix in ([[0.0, 0.0], [0.5, 2.0]], [[1.0, 0.0], [0.5, -2.0]], [[1.0, 3.0], [0.5, 2.0]]):
        change = _tensor("bijection.factor", lambda _, matrix=matrix: np.array(matrix))
        assert "not a lower triangular matrix" in refused(tmp_path / "forged", forged(content, change))


def test_tensors_that_overlap_or_leave_gaps(tiny, tmp_path):
    outer, _, body = parts(tiny[1])
    names = [name for name in outer if name != "__metadata__" and outer[name]["data_offsets"][0] > 8]
    for shift in (-8, 8):
        moved = {**outer, names[0]: {**outer[names[0]]}}
        moved[names[0]]["data_offsets"] = [offset + shift for offset in outer[names[0]]["data_offsets"]]
        assert "overlap or leave gaps" in refused(tmp_path / "moved", joined(moved, body))
    huge = {**outer, "huge": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}
    refused(tmp_path / "huge", joined(huge, body))


def test_the_hash_covers_header_and_tensors(tiny, tmp_path):
    outer, inner, body = parts(tiny[1])
    changed = json.loads(json.dumps(inner))
    coupling(changed)["transformer"]["fields"]["log_bound"] += 1.0
    assert "hash" in refused(tmp_path / "bound", joined(outer, body, changed))
    weight = outer[WEIGHT]["data_offsets"][0]
    altered = body[:weight] + struct.pack("<f", 0.5) + body[weight + 4 :]
    assert "hash" in refused(tmp_path / "weight", joined(outer, altered))
    assert "hash" in refused(tmp_path / "notes", joined(outer, body, {**inner, "notes": {"a": 2}}))


def test_double_precision_weights_need_double_precision_jax(tmp_path):
    flow = pf.bases.Normal((2,))
    with jax.enable_x64(True):
        wide = eqx.tree_at(lambda f: (f.loc, f.scale), flow, (jnp.full(2, 1 / 3), jnp.ones(2)))
        save(tmp_path / "wide", wide)
        assert same(load(tmp_path / "wide"), wide)
    with jax.enable_x64(False):
        assert "jax_enable_x64" in refused(tmp_path / "wide")

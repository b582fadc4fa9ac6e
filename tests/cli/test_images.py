"""Commands on a folder of pictures: fit, show, score and sample, and their errors."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from compiling import quickly_compiled
from pages import Page
from scipy.stats import multivariate_normal
from small import TINY

import pushforward as pf
from pushforward.cli.app import run
from pushforward.cli.image_baseline import _RIDGES, gaussian_baseline
from pushforward.cli.picture_files import write_pictures
from pushforward.datasets import image_folder
from pushforward.datasets.images import read_pictures
from pushforward.persistence import read_notes
from pushforward.recipes import IMAGE_RECIPES
from pushforward.tabular.files import read_table

image = pytest.importorskip("PIL.Image")
COUNT = 40


def pixels(n=COUNT, shape=(4, 4, 1), seed=0):
    """Pictures with a vertical gradient up or down, and noise."""
    random = np.random.default_rng(seed)
    slope = random.choice([-60.0, 60.0], size=(n, 1, 1, 1)) * np.linspace(-1, 1, shape[0])[None, :, None, None]
    return np.clip(np.round(128 + slope + random.normal(0, 10, (n, *shape))), 0, 255).astype(np.uint8)


def fill(folder, pictures):
    folder.mkdir(exist_ok=True)
    for index, picture in enumerate(pictures):
        image.fromarray(picture.squeeze()).save(folder / f"{index:03}.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def quick():
    with quickly_compiled():
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("images") / "grey", pixels())


@pytest.fixture(scope="module")
def fitted(pictures):
    """The folder with a model of the pictures, fitted by the command line."""
    folder = pictures.parent
    options = ("-o", folder / "m.safetensors", "--report", folder / "report.html", *TINY, "--quiet")
    assert run(["fit", str(pictures), *map(str, options)]) == 0
    return folder


@pytest.fixture(scope="module")
def image_model(fitted):
    return fitted / "m.safetensors"


def refused(result, code, *messages):
    assert (result.code, result.out) == (code, ""), result
    assert result.err.startswith("pushforward: ")
    assert result.err.count("\n") == 1
    for message in messages:
        assert message in result.err, (message, result.err)


def test_fit_prints_bits_per_dimension_and_a_gaussian(command, pictures):
    result = command("fit", pictures, *TINY)
    assert result.code == 0, result.err
    for message in (
        "40 pictures of 4 x 4, grey", "glow to 32", "bits per dimension", "validation", "test (4 pictures)", "Gaussian",
        "pushforward sample model.safetensors -n 16 -o samples/",
    ):  # fmt: skip
        assert message in result.out
    notes = read_notes("model.safetensors")
    assert (notes["shape"], notes["levels"], notes["recipe"]) == ([4, 4, 1], 256, "glow")
    assert notes["held_out_nats"] == pytest.approx(-notes["test_bits"] * 16 * math.log(2))
    assert notes["gaussian_bits"] < 8


def test_test_bits_are_those_of_held_out_pictures(command, pictures, image_model):
    """The tenth that the loader holds out; `score` uses the order of the file names."""
    assert command("score", image_model, pictures, "-o", "s.csv").code == 0
    table = read_table("s.csv")
    assert table.columns == ("log_prob", "bits_per_dim")
    test = np.random.default_rng(0).permutation(COUNT)[:4]
    np.testing.assert_array_equal(read_pictures(pictures)[test], image_folder(pictures).test)
    bits = table.values[:, 1]
    np.testing.assert_allclose(bits, -table.values[:, 0] / (16 * math.log(2)))
    assert bits[test].mean() == pytest.approx(read_notes(image_model)["test_bits"], rel=1e-9)


def test_samples_are_written_to_a_new_folder_or_an_array(command, image_model):
    for name in ("new/", "new.npy", "new.npz"):
        result = command("sample", image_model, "-n", "5", "-o", name)
        assert result.code == 0, result.err
    files = sorted(Path("new").iterdir())
    assert [file.name for file in files] == [f"{index:05}.png" for index in range(5)]
    samples = np.load("new.npy")
    assert (samples.dtype, samples.shape) == (np.uint8, (5, 4, 4, 1))
    np.testing.assert_array_equal(read_pictures("new"), samples)
    np.testing.assert_array_equal(np.load("new.npz")["values"], samples)
    result = command("score", image_model, "new", "--json")
    assert result.json["bits_per_dimension"] == pytest.approx(-result.json["mean"] / (16 * math.log(2)))


def test_colour_pictures_round_trip(tmp_path):
    samples = pixels(3, (2, 2, 3))
    write_pictures(tmp_path / "new", samples.astype(float), 256)
    np.testing.assert_array_equal(read_pictures(tmp_path / "new"), samples)


def test_show_prints_layers_and_notes(command, image_model):
    result = command("show", image_model)
    assert result.code == 0
    for message in ("PixelSigmoid shape (4, 4, 1)", "4, 4, 1", "test bits", "glow"):
        assert message in result.out


def test_report_has_two_grids_and_no_external_resources(fitted):
    text = (fitted / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for message in ("glow fitted to grey", "bits per dimension for test images", "Samples of the model"):
        assert message in page.text
    images = [attributes for tag, attributes in page.tags if tag == "image"]
    embedded = [value for attributes in images for name, value in attributes.items() if "href" in name]
    assert len(embedded) == 2
    assert all(value.startswith("data:image/png;base64,") for value in embedded)
    assert len(text) < 200_000


def test_json_output_is_one_object(command, image_model):
    result = command("sample", image_model, "-n", "2", "-o", "s.npy", "--json")
    assert json.loads(result.out)["pictures"] == 2


@pytest.mark.parametrize("count", [12, 60])
def test_gaussian_baseline_matches_scipy(count):
    """Fewer pictures than numbers in one, and more; SciPy has a dense covariance."""
    random = np.random.default_rng(1)
    train, validation, test = (random.normal(100, 5, (n, 4, 4, 1)).cumsum(1) for n in (count, 9, 8))
    flat = train.reshape(count, 16)
    covariance = np.cov(flat.T, bias=True)
    means = [
        [multivariate_normal(flat.mean(0), covariance + r * np.eye(16)).logpdf(part.reshape(-1, 16)).mean()
         for part in (validation, test)]
        for r in _RIDGES
    ]  # fmt: skip
    best = max(means)
    np.testing.assert_allclose(gaussian_baseline(train, validation, test), best, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "code", "messages"),
    [
        (("--flow", "nsf"), 2, ("--flow", "'nsf'", *IMAGE_RECIPES)),
        (("--flow", "glwo"), 2, ("'glwo'", *IMAGE_RECIPES)),
        (("--columns", "a"), 2, ("--columns", "no columns")),
        (("--context", "a"), 2, ("--context", "no columns")),
        (("--drop-na",), 2, ("--drop-na", "no columns")),
    ],
)
def test_options_of_tables_are_refused_for_a_folder(command, pictures, arguments, code, messages):
    refused(command("fit", pictures, *arguments), code, *messages)


def test_image_recipe_is_refused_for_a_table(command, table):
    refused(command("fit", table, "--flow", "glow"), 2, "--flow", "'glow'", "pictures", "real_nvp")


def test_invalid_folders_are_refused(command, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(command("fit", "empty"), 1, "empty", "at least 10", "found 0")
    folder = fill(tmp_path / "two", pixels(12))
    image.fromarray(np.zeros((5, 4), np.uint8)).save(folder / "big.png")
    refused(command("fit", "two"), 1, "big.png", "(5, 4, 1)", "(4, 4, 1)", "one size")
    (folder / "big.png").write_text("no picture at all")
    refused(command("fit", "two", "--report", "r.html"), 1, "big.png", "cannot be read", "remove")
    fill(tmp_path / "odd", pixels(12, (3, 3, 1)))
    refused(command("fit", "odd", "--quiet"), 1, "odd", "3 x 3", "pad the images to 4 x 4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "odd", "two"]


def test_data_of_the_wrong_shape_are_refused(command, image_model, model, table, pictures, tmp_path):
    fill(tmp_path / "wide", pixels(2, (4, 5, 1)))
    refused(command("score", image_model, "wide"), 1, "wide", "(4, 4, 1)", "(4, 5, 1)")
    refused(command("score", image_model, table), 1, "data.csv", "folder of PNG")
    refused(command("score", image_model, pictures, "--drop-na"), 2, "--drop-na", "pictures")
    refused(command("score", model, pictures), 1, "grey")


def test_invalid_outputs_of_samples_are_refused(command, image_model, model):
    Path("there").mkdir()
    for which in (model, image_model):
        refused(command("sample", which, "-o", "there", "--overwrite"), 1, "there", "exists already", "new folder")
    refused(command("sample", model, "-o", "new"), 1, "new", "suffix", ".csv")
    refused(command("sample", image_model), 1, "samples.csv", "-o samples/", "samples.npy")
    refused(command("sample", image_model, "-o", "no/new"), 1, "no", "does not exist")
    refused(command("sample", image_model, "-o", "new", "--given", "c=1"), 2, "'c=1'")
    Path("s.npy").write_text("mine")
    refused(command("sample", image_model, "-n", "1", "-o", "s.npy"), 1, "s.npy", "--overwrite")
    assert command("sample", image_model, "-n", "1", "-o", "s.npy", "--overwrite").code == 0


def test_png_is_refused_for_other_levels(command):
    flow = pf.Dequantised(pf.glow((2, 2, 1), levels=17, n_scales=1, n_layers=1, width=4, key=0), 17)
    pf.save("few.safetensors", flow)
    refused(command("sample", "few.safetensors", "-o", "new"), 1, "17 levels", "new.npy")
    assert command("sample", "few.safetensors", "-n", "3", "-o", "new.npy").code == 0
    assert np.load("new.npy").max() <= 16


def test_error_while_writing_leaves_no_folder(command, image_model, monkeypatch, tmp_path):
    def full(self, *args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image.Image, "save", full)
    refused(command("sample", image_model, "-n", "2", "-o", "new"), 1, "new", "No space left")
    assert list(tmp_path.iterdir()) == []

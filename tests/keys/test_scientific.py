"""Keys of scipy's sparse arrays, scikit-learn's estimators and Pillow's images."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlcache.keys import digest

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


def sparse(kind: str = "csr") -> Any:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    return scipy_sparse.random_array((20, 30), density=0.1, format=kind, rng=np.random.default_rng(0))


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_sparse_arrays_are_equal(kind: str) -> None:
    assert digest(sparse(kind)) == digest(sparse(kind).copy())
    changed = sparse(kind).tolil()
    changed[3, 4] = 7
    assert digest(changed.asformat(kind)) != digest(sparse(kind))


def test_sparse_formats_and_dense_arrays_are_apart() -> None:
    made = [sparse(kind) for kind in FORMATS] + [sparse().toarray(), sparse().astype("f4"), sparse().T]
    assert len({digest(each) for each in made}) == len(made)


def test_the_order_of_stored_elements_does_not_matter() -> None:
    one = sparse("coo")
    order = np.random.default_rng(0).permutation(one.nnz)
    other = type(one)((one.data[order], tuple(axis[order] for axis in one.coords)), one.shape)
    assert digest(one) == digest(other)
    rows = one.tocsr()
    turned = rows.copy()
    start, end = turned.indptr[:2] if turned.indptr[1] > 1 else turned.indptr[1:3]
    for part in (turned.indices, turned.data):
        part[start:end] = part[start:end][::-1].copy()
    turned.has_sorted_indices = turned.has_canonical_format = False
    before = turned.indices.copy()
    assert digest(turned) == digest(rows)
    assert (turned.indices == before).all()


def estimators() -> list[Any]:
    pytest.importorskip("sklearn")
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return [
        RandomForestClassifier(3, random_state=0),
        RandomForestClassifier(4, random_state=0),
        HistGradientBoostingClassifier(max_iter=2, random_state=0),
        LogisticRegression(C=1.0),
        LogisticRegression(C=2.0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ]


def test_estimators_stand_by_class_parameters_and_fitted_state() -> None:
    from sklearn.datasets import load_iris

    x, y = load_iris(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    made = (
        estimators()
        + [each.fit(x, y) for each in estimators()]
        + [each.fit(x, y > 0) for each in estimators()]
    )
    assert len({digest(each) for each in made}) == len(made)
    for one, other in zip(estimators(), estimators(), strict=True):
        assert digest(one) == digest(other)
        fitted = one.fit(x, y)
        assert digest(fitted) == digest(other.fit(x, y))
        assert digest(fitted) == digest(pickle.loads(pickle.dumps(fitted)))


def image(shift: int = 0) -> Any:
    pil_image = pytest.importorskip("PIL.Image")
    return pil_image.fromarray(np.arange(64 * 64 * 3, dtype="u1").reshape(64, 64, 3) + np.uint8(shift))


def test_images_stand_by_mode_size_and_pixels() -> None:
    coloured = image().quantize(8)
    swapped = coloured.copy()
    swapped.putpalette(list(reversed(coloured.getpalette())))
    made = [
        image(),
        image(1),
        image().convert("L"),
        image().convert("RGBA"),
        image().resize((32, 128)),
        coloured,
        swapped,
    ]
    made.append(np.asarray(image()))
    assert len({digest(each) for each in made}) == len(made)
    assert digest(image()) == digest(image().copy())


def test_an_image_from_a_file_is_an_image_like_another() -> None:
    pil_image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image().save(buffer, "png")
    assert digest(pil_image.open(buffer)) == digest(image())


def test_diagonals_are_equal_whatever_their_order_and_what_lies_outside() -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    made = [
        scipy_sparse.dia_array((np.array([[1, 2, 3], [4, 5, 6]]), [0, 1]), shape=(3, 3)),
        scipy_sparse.dia_array((np.array([[4, 5, 6], [1, 2, 3]]), [1, 0]), shape=(3, 3)),
        scipy_sparse.dia_array((np.array([[1, 2, 3], [9, 5, 6]]), [0, 1]), shape=(3, 3)),
    ]
    assert len({digest(each) for each in made}) == 1
    assert digest(made[0]) != digest(made[0] * 2)


@pytest.mark.parametrize("kind", ["csr", "csc", "bsr", "coo"])
def test_how_wide_indices_are_does_not_matter(kind: str) -> None:
    wide = sparse(kind)
    if kind == "coo":
        wide.coords = tuple(places.astype(np.int64) for places in wide.coords)
    else:
        wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    assert digest(wide) == digest(sparse(kind))


def test_what_a_sparse_array_of_a_derived_class_carries_counts() -> None:
    base = type(sparse())
    derived = type("Derived", (base,), {})
    made = [derived(sparse()) for _ in range(3)]
    made[1].note, made[2].note = "a", "b"
    assert len({digest(each) for each in [*made, sparse()]}) == 4


def animation(*shifts: int, kind: str = "gif") -> Any:
    buffer = io.BytesIO()
    first, *more = (image(shift) for shift in shifts)
    first.save(buffer, kind, save_all=True, append_images=more)
    return pytest.importorskip("PIL.Image").open(buffer)


@pytest.mark.parametrize("kind", ["gif", "tiff", "png", "webp"])
def test_every_frame_of_an_image_counts(kind: str) -> None:
    made = [animation(*shifts, kind=kind) for shifts in [(0, 90, 180), (0, 45, 180), (0, 90, 135), (0, 90)]]
    made.append(animation(0, 90, 180, kind=kind))
    made[-1].seek(1)
    assert len({digest(each) for each in made}) == len(made)
    assert made[-1].tell() == 1
    assert digest(made[0]) == digest(animation(0, 90, 180, kind=kind))


@pytest.mark.parametrize("kind", ["gif", "tiff", "png"])
def test_an_image_whose_file_was_closed_stays_what_it_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(animation(0, 90, kind=kind).fp.getvalue())
    with pytest.importorskip("PIL.Image").open(path) as closed:
        closed.load()
        digest(closed)
    pixels = np.asarray(closed.convert("RGB"))
    assert digest(closed) != digest(animation(0, 90, kind=kind))
    assert (np.asarray(closed.convert("RGB")) == pixels).all()


def test_how_transparent_a_palette_is_counts() -> None:
    made = []
    for opacity in (255, 100):
        coloured = image().quantize(4)
        coloured.putpalette([1, 2, 3, opacity] * 4, "RGBA")
        made.append(coloured)
    assert digest(made[0]) != digest(made[1])


def test_an_image_with_a_resolution_can_be_keyed() -> None:
    buffer = io.BytesIO()
    image().save(buffer, "tiff", dpi=(72, 72))
    opened = pytest.importorskip("PIL.Image").open(buffer)
    assert digest(opened) == digest(pickle.loads(pickle.dumps(opened)))

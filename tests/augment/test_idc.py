"""IDC's order of the DSA ops against the original; which ops are drawn; bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.augment import idc_augment, idc_augmentation, ops
from jdd.augment.dsa import DSARatios
from jdd.augment.idc import from_draws
from jdd.data.batch import Batch

CASES = [
    (shape, strategy, op, form)
    for shape, strategies in {
        "rgb": {
            "color_crop_cutout": ["crop"],
            "color_crop": ["crop"],
            "color_crop_cutout_flip_scale_rotate": ["crop", "scale", "rotate"],
            "color_crop_scale_rotate": ["scale"],
        },
        "gray": {"color_crop_cutout_flip_scale_rotate": ["crop", "scale", "rotate"]},
    }.items()
    for strategy, drawn in strategies.items()
    for op in drawn
    for form in ("shared", "independent")
]


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def draws(arrays, prefix, strategy, op, form, side):
    """The uniform numbers that give the recorded parameters."""

    def of(name, default=0.5):
        value = np.asarray(arrays.get(f"{prefix}.{name}", np.full(4, default)), np.float64)
        if form == "shared":
            assert (value == value[0]).all()
            value = value[0]
        return value

    ratios, pad, size = DSARatios(), int(side * 0.125 + 0.5), int(side * 0.5 + 0.5)
    width = ratios.scale - 1 / ratios.scale
    one_of = {
        "crop": lambda: [(of(t) + pad + 0.5) / (2 * pad + 1) for t in ("crop_tx", "crop_ty")],
        "scale": lambda: [(of(s) - 1 / ratios.scale) / width for s in ("scale_sx", "scale_sy")],
        "rotate": lambda: [of("rotate_theta") / np.deg2rad(ratios.rotate) / 2 + 0.5],
    }[op]()
    count = side + 1 - size % 2
    rows = [
        [of("flip_u")],
        [of("brightness_u"), of("saturation_u"), of("contrast_u")],
        one_of,
        [(of("cutout_ox") + 0.5) / count, (of("cutout_oy") + 0.5) / count],
    ]
    filled = [row + [np.full_like(row[0], 0.5)] * (3 - len(row)) for row in rows]
    names = [name for name in strategy.split("_") if name in ("crop", "scale", "rotate")]
    which = (names.index(op) + 0.5) / len(names)
    return jnp.float32(which), jnp.asarray(np.array(filled), jnp.float32)


@pytest.mark.parametrize(("shape", "strategy", "op", "form"), CASES)
def test_outputs_and_gradients_are_those_of_the_original(reference, shape, strategy, op, form):
    arrays = reference("cutmix_aug")
    prefix = f"aug.{shape}.{strategy}.{op}.{form}"
    images, weights = nhwc(arrays[f"aug.{shape}.x"]), nhwc(arrays[f"aug.{shape}.R"])
    which, u = draws(arrays, prefix, strategy, op, form, images.shape[1])

    @jax.jit
    def value_and_gradient(images):
        out = from_draws(which, u, images, strategy)
        gradient = jax.grad(lambda x: jnp.sum(from_draws(which, u, x, strategy) * weights))(images)
        return out, gradient

    out, gradient = value_and_gradient(images)
    np.testing.assert_allclose(out, nhwc(arrays[f"{prefix}.out"]), rtol=0, atol=3e-5)
    np.testing.assert_allclose(gradient, nhwc(arrays[f"{prefix}.grad"]), rtol=0, atol=3e-5)


@pytest.fixture
def images():
    return jax.random.normal(jax.random.key(1), (5, 8, 8, 3))


def test_siamese_parameters_depend_on_the_key_alone(images):
    strategy = "color_crop_cutout_flip_scale_rotate"
    for key in jax.random.split(jax.random.key(0), 8):
        whole = idc_augment(key, images, strategy, siamese=True)
        part = idc_augment(key, images[2:4], strategy, siamese=True)
        np.testing.assert_allclose(whole[2:4], part, atol=1e-6)


def test_parameters_per_image_differ(images):
    same = jnp.broadcast_to(images[:1], images.shape)
    out = idc_augment(jax.random.key(0), same, "color_crop_cutout", siamese=False)
    assert len({np.asarray(image).tobytes() for image in out}) == len(images)
    shared = idc_augment(jax.random.key(0), same, "color_crop_cutout", siamese=True)
    np.testing.assert_array_equal(shared, jnp.broadcast_to(shared[:1], shared.shape))


def test_listed_ops_are_always_applied_and_one_of_the_others():
    ones = jnp.ones((1, 8, 8, 1))
    seen = {"crop": 0, "scale": 0}
    for key in jax.random.split(jax.random.key(0), 40):
        out = np.asarray(idc_augment(key, ones, "crop_scale_cutout", siamese=True))[0, ..., 0]
        cut = np.argwhere(out == 0)
        assert len(cut), "the cutout leaves a hole"
        # Scaling leaves values between 0 and 1 at the border or the image whole; crops do not.
        seen["scale" if ((out > 0) & (out < 1)).any() else "crop"] += 1
    assert all(count > 5 for count in seen.values())
    only_cutout = idc_augment(jax.random.key(3), ones, "cutout", siamese=True)
    holes = {np.asarray(ops.cutout(ones, i, j, 4)).tobytes() for i in range(9) for j in range(9)}
    assert np.asarray(only_cutout).tobytes() in holes


def test_as_a_value_of_a_recipe(images):
    augment = idc_augmentation("color_crop")
    batch = Batch(images, jnp.arange(5))
    out = augment.per_sample(jax.random.key(0), batch)
    want = idc_augment(jax.random.key(0), images, "color_crop", siamese=False)
    np.testing.assert_array_equal(out.images, want)
    assert augment.siamese is not None
    np.testing.assert_array_equal(
        augment.siamese(jax.random.key(0), images),
        idc_augment(jax.random.key(0), images, "color_crop", siamese=True),
    )
    assert not augment.mixes_labels


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="did you mean 'crop'"):
        idc_augmentation("croop")
    with pytest.raises(ValueError, match="at least one op"):
        idc_augmentation("none")

"""HaBa's bases and hallucinators: decoding and derivatives against the original, any size, budget, bad input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd import choice, synthetic
from jdd.synthetic import equivalent_ipc, hallucinate, hallucinated, random_hallucinator

CASES = [("rgb", 0), ("rgb", 1), ("single", 1), ("gray28", 1)]


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


def of_torch(arrays, prefix):
    """A hallucinator, or its gradient, from the original's tensors."""

    def get(name):
        return np.asarray(arrays[f"{prefix}.{name}"])

    return {
        "encoder_kernel": jnp.asarray(get("enc.weight").transpose(2, 3, 1, 0)),
        "encoder_bias": jnp.asarray(get("enc.bias")),
        "scale": nhwc(get("scale"))[0],
        "shift": nhwc(get("shift"))[0],
        # A transposed convolution is a convolution with a flipped kernel.
        "decoder_kernel": jnp.asarray(get("dec.weight")[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)),
        "decoder_bias": jnp.asarray(get("dec.bias")),
    }


@pytest.mark.parametrize(("case", "number"), CASES)
def test_images_and_gradients_are_those_of_the_original(reference, case, number):
    arrays, prefix = reference("haba_decode"), f"{case}.h{number}"
    bases, weights = nhwc(arrays[f"{case}.bases"]), nhwc(arrays[f"{case}.R"])
    one = of_torch(arrays, prefix)
    assert sum(x.size for x in one.values()) == arrays[f"{case}.n_params"]
    images = jax.jit(hallucinate)(one, bases)
    np.testing.assert_allclose(images, nhwc(arrays[f"{prefix}.out"]), rtol=0, atol=2e-6)

    @jax.jit
    @jax.grad
    def gradient(both):
        return jnp.sum(hallucinate(*both) * weights)

    of_hallucinator, of_bases = gradient((one, bases))
    want = nhwc(arrays[f"{prefix}.grad_bases"])
    np.testing.assert_allclose(of_bases, want, rtol=0, atol=2e-6 * np.abs(want).max())
    for name, want in of_torch(arrays, f"{prefix}.grad").items():
        tolerance = 5e-6 * np.abs(want).max()
        np.testing.assert_allclose(of_hallucinator[name], want, rtol=0, atol=tolerance)


def test_the_formula_decodes_the_stored_arrays():
    """As somebody without this library would, from the words in the metadata."""
    parametrisation = hallucinated(2)
    images = jax.random.normal(jax.random.key(0), (2, 3, 7, 5, 2))
    params = parametrisation.init(jax.random.key(1), images)
    params["hallucinators"]["scale"] += jax.random.normal(jax.random.key(2), (2, 5, 3, 2))
    params["hallucinators"]["shift"] -= jax.random.normal(jax.random.key(3), (2, 5, 3, 2))
    stored = {name: np.asarray(x) for name, x in parametrisation.stored(params).items()}

    def conv(x, kernel, padding):
        x = np.pad(x, [(padding, padding), (padding, padding), (0, 0)])
        rows, columns = x.shape[0] - 2, x.shape[1] - 2
        result = np.zeros((rows, columns, kernel.shape[3]))
        for i in range(rows):
            for j in range(columns):
                result[i, j] = np.einsum("rci,rcio->o", x[i : i + 3, j : j + 3], kernel)
        return result

    for h in range(2):
        decoded = parametrisation.decode(params, h)
        hidden = conv(stored["bases"][1, 2], stored["encoder_kernel"][h], 0)
        hidden = stored["scale"][h] * (hidden + stored["encoder_bias"][h]) + stored["shift"][h]
        want = conv(hidden, stored["decoder_kernel"][h], 2) + stored["decoder_bias"][h]
        np.testing.assert_allclose(decoded.images[1, 2], want, atol=2e-6)
        assert decoded.labels.tolist() == [[0] * 3, [1] * 3]
    again = parametrisation.restored(parametrisation.stored(params))
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert "encoder_kernel" in parametrisation.formula


@pytest.mark.parametrize(
    ("bases", "channels", "hallucinators", "floats", "ipc"),
    [
        (1, None, 5, 58_560, 1.906),
        (3, 1, 5, 58_290, 1.897),
        (10, None, 5, 335_040, 10.906),
        (50, None, 5, 1_563_840, 50.906),
    ],
)
def test_the_budget_of_the_papers_sets(bases, channels, hallucinators, floats, ipc):
    parametrisation = hallucinated(hallucinators, channels=channels)
    params = jax.eval_shape(
        parametrisation.init, jax.random.key(0), jnp.zeros((10, bases, 32, 32, 3))
    )
    assert parametrisation.num_floats(params) == floats
    assert equivalent_ipc(floats, 10, (32, 32, 3)) == pytest.approx(ipc, abs=5e-4)
    decoded = jax.eval_shape(lambda params: parametrisation.decode(params, 0).images, params)
    assert decoded.shape == (10, bases, 32, 32, 3)


def test_hallucinators_start_as_pytorchs_convolutions():
    many = jax.vmap(lambda key: random_hallucinator(key, (8, 8), 1, 3))(
        jax.random.split(jax.random.key(0), 400)
    )
    for name, fan_in in {"encoder_kernel": 9, "encoder_bias": 9, "decoder_kernel": 27}.items():
        bound = fan_in**-0.5
        assert 0.97 * bound < np.abs(many[name]).max() <= bound
        assert np.std(many[name]) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert (many["scale"] == 1).all() and (many["shift"] == 0).all()


def test_bases_start_at_images_and_hallucinators_at_the_key():
    images = jax.random.normal(jax.random.key(0), (2, 1, 6, 6, 3))
    params = [hallucinated(2, channels=1).init(jax.random.key(i), images) for i in (1, 1, 2)]
    np.testing.assert_allclose(params[0]["bases"], images.mean(-1, keepdims=True))
    kernels = [p["hallucinators"]["encoder_kernel"] for p in params]
    assert (kernels[0] == kernels[1]).all() and (kernels[0] != kernels[2]).all()
    assert (kernels[0][0] != kernels[0][1]).any()


def test_they_are_written_as_calls():
    assert choice.parse("hallucinated") == hallucinated() == hallucinated(5)
    assert str(hallucinated(3, channels=1)) == "hallucinated(3, channels=1)"
    assert choice.from_json(hallucinated(3).to_json()) == hallucinated(3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hallucinated(0), "num_hallucinators must be at least 1, got 0"),
        (lambda: hallucinated(2.5), "num_hallucinators must be a whole number"),  # type: ignore[arg-type]
        (lambda: hallucinated(2, channels=3), "channels of a basis must be 1 or None, got 3"),
        (
            lambda: hallucinated(2).init(jax.random.key(0), jnp.zeros((1, 1, 8, 2, 1))),
            "at least 3x3 pixels, got 8x2",
        ),
        (
            lambda: hallucinated(2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))),
            r"images must be \[C, ipc, H, W, channels\]",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bases_are_what_pictures_show():
    params = synthetic.hallucinated(2).init(jax.random.key(0), jnp.ones((2, 1, 4, 4, 1)))
    preview = synthetic.hallucinated(2).preview
    assert preview is not None and preview(params) is params["bases"]

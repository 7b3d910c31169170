"""The loop between dispatches, with a program that only counts."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jdd.runs import loop


class Recorder:
    """A run whose state is its step; what the hooks were called with."""

    def __init__(self, *, interrupt_at=None, bad_from=None, bad_image_from=None, updates=None):
        self.updates = updates
        self.interrupt_at, self.bad_from, self.bad_image_from = (
            interrupt_at,
            bad_from,
            bad_image_from,
        )
        self.reports, self.stops, self.saves = [], [], []

    def program(self, state, table, n):
        losses = np.zeros(loop.MOST_STEPS_PER_DISPATCH)
        # A step that does nothing passes the loss on.
        losses[:n] = [(self.updates or int)(state + 1 + i) for i in range(n)]
        if self.bad_from is not None:
            losses[:n][losses[:n] >= self.bad_from] = np.nan
        return state + n, losses

    def decode(self, state):
        bad = self.bad_image_from is not None and state >= self.bad_image_from
        return jnp.where(bad, jnp.inf, state)[None].astype(float), jnp.zeros(1, int)

    def run(self, step=0, total=20, stops=(), save_seconds=1e9, dispatch_seconds=1e9):
        return loop.run_steps(
            self.program,
            step,
            None,
            step=step,
            total=total,
            stops=stops,
            decode=self.decode,
            updates=self.updates or int,
            hooks=loop.Hooks(
                self.reports.append,
                lambda step, state: self.stops.append((step, state)),
                lambda step, state: self.saves.append((step, state)),
                lambda: bool(self.reports) and self.reports[-1].step == self.interrupt_at,
            ),
            save_seconds=save_seconds,
            dispatch_seconds=dispatch_seconds,
        )


def test_every_step_is_done_once_and_stops_are_met():
    recorder = Recorder()
    assert recorder.run(stops=[5, 13]) == 20
    assert np.concatenate([r.losses for r in recorder.reports]).tolist() == list(range(1, 21))
    assert recorder.stops == [(5, 5), (13, 13), (20, 20)]
    assert recorder.saves == recorder.stops
    assert len(recorder.reports[0].losses) == 1  # the first dispatch measures


def test_from_the_middle_the_step_it_starts_at_is_a_stop_too():
    recorder = Recorder()
    recorder.run(step=13, stops=[5, 13])
    assert recorder.stops == [(13, 13), (20, 20)]
    assert recorder.saves == [(20, 20)]


def test_a_run_that_was_complete_only_stops_at_its_end():
    recorder = Recorder()
    assert recorder.run(step=20, stops=[5]) == 20
    assert recorder.stops == [(20, 20)] and not recorder.saves and not recorder.reports


def test_saving_by_time():
    recorder = Recorder()
    recorder.run(total=4, save_seconds=0.0, dispatch_seconds=0.0)
    assert [step for step, _ in recorder.saves] == [1, 2, 3, 4]


def test_an_interrupted_run_is_saved():
    recorder = Recorder(interrupt_at=5)
    with pytest.raises(loop.Stopped) as caught:
        recorder.run(stops=[5, 10])
    assert caught.value.step == 5 and recorder.saves == [(5, 5)] and recorder.stops == []


@pytest.mark.parametrize("dispatch_seconds", [0.0, 1e9])
def test_divergence_keeps_what_was_good(dispatch_seconds):
    recorder = Recorder(bad_from=8)
    with pytest.raises(loop.Diverged, match="step 8") as caught:
        recorder.run(stops=[5], dispatch_seconds=dispatch_seconds)
    assert caught.value.step == 8
    images, labels = caught.value.good
    assert isinstance(images, np.ndarray) and isinstance(labels, np.ndarray)
    assert images.tolist() == [caught.value.good_step] and labels.tolist() == [0]
    assert caught.value.good_step == (7 if dispatch_seconds == 0.0 else 5)
    assert all(np.isfinite(report.losses).all() for report in recorder.reports)


def test_images_that_are_not_finite_are_divergence_too():
    recorder = Recorder(bad_image_from=6)
    with pytest.raises(loop.Diverged) as caught:
        recorder.run(stops=[5], dispatch_seconds=0.0)
    assert (caught.value.step, caught.value.good_step) == (6, 5)


@pytest.mark.parametrize("bad_image", [np.nan, np.inf, -np.inf])
def test_the_last_good_set_outlives_the_donated_state(bad_image):
    """With a compiled program, as in a run: the set in the state is gone when the next one is bad."""

    @functools.partial(jax.jit, donate_argnums=0)
    def program(state, table, n):
        step, images = state["step"] + n, state["images"] + 1
        images = images.at[0, 1].set(jnp.where(step >= 4, bad_image, images[0, 1]))
        return {"step": step, "images": images}, jnp.zeros(8)

    states = []
    state = {"step": jnp.int32(0), "images": jnp.zeros((2, 3))}
    with pytest.raises(loop.Diverged) as caught:
        loop.run_steps(
            program,
            state,
            None,
            step=0,
            total=9,
            stops=(),
            decode=lambda state: {"images": state["images"]},
            updates=lambda state: int(state["step"]),
            hooks=loop.Hooks(
                lambda report: None, lambda *at: None, lambda *at: states.append(at), lambda: False
            ),
            save_seconds=0.0,
            dispatch_seconds=0.0,
        )
    assert state["images"].is_deleted() and states[-1][1]["images"].is_deleted()
    assert (caught.value.step, caught.value.good_step) == (4, 3)
    np.testing.assert_array_equal(caught.value.good["images"], np.full((2, 3), 3.0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_is_finite(bad):
    good = {
        "images": jnp.full((2, 3), 3e38),
        "labels": jnp.arange(2),
        "half": jnp.ones(2, "float16"),
    }
    assert loop.is_finite(good).shape == () and loop.is_finite(good)
    assert loop.is_finite({})
    for name in ("images", "half"):
        one = good[name].at[(1,) * good[name].ndim].set(bad)
        assert not loop.is_finite(good | {name: one})
        assert not jax.jit(loop.is_finite)(good | {name: one})


def test_steps_that_do_nothing_do_not_set_the_pace():
    recorder = Recorder(updates=lambda state: min(state, 3) + max(0, state - 40))
    recorder.run(total=80, dispatch_seconds=0.0)
    assert {len(report.losses) for report in recorder.reports} == {1}
    # Nor are they reported, but for the last.
    assert [report.step for report in recorder.reports] == [1, 2, 3, *range(41, 81)]


def test_steps_that_do_nothing_do_not_count_in_a_report():
    recorder = Recorder(updates=lambda state: min(state, 3) + max(0, state - 40))
    recorder.run(total=50)
    assert any(report.step - report.updates > 30 for report in recorder.reports)
    assert [len(report.losses) for report in recorder.reports] == [
        report.updates for report in recorder.reports
    ]
    losses = np.concatenate([report.losses for report in recorder.reports])
    assert losses.tolist() == list(range(1, 14))


def test_nothing_but_steps_that_do_nothing():
    idle = Recorder(updates=lambda state: 0)
    idle.run(total=6)
    assert [report.step for report in idle.reports] == [6]


def test_pace_follows_the_measured_speed():
    pace = loop.Pace(4.0)
    pace.measured(1, 1.0)
    assert pace.next() == 4
    pace.measured(4, 0.001)
    assert pace.next() == 32 and pace.next(limit=10) == 10
    pace.measured(32, 1000.0)
    assert pace.next() == 1

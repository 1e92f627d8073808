"""Forecaster: one physical time step, with all that has units and dates around the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from configs.model import ModelConfig
from configs.time.calendar import Calendar
from configs.time.step import TimeStep
from configs.variables import Variable
from data_prep.store.reader import Store
from forecast.model.build import BuildNetwork, build_network
from forecast.model.forcing import ForcingChannels, forcing_fields, given_inputs
from forecast.model.limiter import AreaMeans, RangeLimiter, SpectralLimiter, Truncation
from forecast.model.network import LocalSFNO
from forecast.model.noise import Noise
from forecast.model.normalizer import Normalizer
from forecast.model.state import State, Times
from forecast.model.static_inputs import nearest, static_inputs, static_on_grid, transferred
from forecast.model.update import DampedUpdate
from sphere_ops.grid import Grid
from sphere_ops.harmonics.fill import SmoothFill, smooth_fill
from sphere_ops.parallel.mesh import current

BY_ROWS = (
    "static",
    "mask",
    "normalizer.climatology",
    "forcing.mask",
    "update.mean",
    "update.bounds",
    "range_limiter.bounds",
)
"""Tensors of a package of which each rank holds its own rows."""


class Forecaster(nn.Module):
    """Steps a physical state forward by one time step.

    normalise → fill missing points → append the steps that led here (`history`), forcings at the
    target time, the climatology if it is the baseline or an input, and static fields → network →
    add to the state (scaled by the size of a one-step difference), or to damped persistence
    (`update`) → limit spectrum and range → denormalise → keep the area means of conserved and
    persistent channels → raise negative values of channels that are never negative to 0 → mask.
    Limits, also that of 0, do not act in training.

    With `model.bundle` the network predicts the fields of several steps at once, each as a change
    of the present state (temporal bundling, Brandstetter et al. 2022, arXiv 2202.03376). The state
    holds them until they are its present, and only then the network is applied again.

    Attributes:
        config: the model's settings.
        grid: the grid of the states.
        channels: what the channels of a state are.
        time_step: interval of one step, in the calendar of the valid times.
        n_history: length of the history of the states that it steps.
        normalizer: the scaling.
        static: static inputs, of order one, (s, nlat, nlon).
        mask: where channels have values, bool (c, nlat, nlon); None if all have everywhere. Of a
            channel of `moving_mask`, where it ever has values.
        moving_mask: names of channels that states lack (NaN) at points inside the mask that change.
            They are predicted everywhere inside the mask.
        forcing: channels that are given at every time; None if there are none.
        moving: these channels, bool (c, 1, 1); None if there are none.
        network: the network, which knows nothing of the above.
        limiter: holds the spectrum of what is fed back; None if nothing does.
        range_limiter: holds the range at each point of all channels, likewise.
        update: adds the output of the network to damped persistence; None if the output is added to
            the present state.
        noise: Gaussian fields that the network gets in every step; None for a deterministic model.
        smooth_fill: extends fields over the points outside the mask; None if the baseline does, or
            if there are no such points.

    In a mesh states, static inputs, mask and climatology are this process's own rows; a package
    holds whole ones.
    """

    static: Tensor
    mask: Tensor | None
    moving: Tensor | None
    _prognostic: Tensor
    _persistent: Tensor
    _residual: Tensor
    _least: Tensor | None

    def __init__(
        self,
        config: ModelConfig,
        grid: Grid,
        channels: tuple[Variable, ...],
        time_step: TimeStep,
        normalizer: Normalizer,
        static: Tensor,
        mask: Tensor | None = None,
        network: LocalSFNO | None = None,
        limiter: SpectralLimiter | None = None,
        moving_mask: tuple[str, ...] = (),
        forcing: ForcingChannels | None = None,
        update: DampedUpdate | None = None,
        build: BuildNetwork = build_network,
        range_limiter: RangeLimiter | None = None,
    ) -> None:
        """Build the network for these channels, unless one is given; see the attributes.

        Raises:
            ValueError: if a channel is neither prognostic nor diagnostic, or a setting does not fit
                the grid.
        """
        super().__init__()
        if not channels:
            raise ValueError("all channels are given; name those to forecast in data.variables")
        for v in channels:
            if v.role not in ("prognostic", "diagnostic"):
                raise ValueError(
                    f"channel {v.name!r} of the store has role {v.role}; channels to forecast are "
                    "prognostic or diagnostic, and those of data.forcing are given"
                )
        if unknown := set(config.persistent_mean) - {v.name for v in channels}:
            raise ValueError(
                f"model.persistent_mean names {sorted(unknown)}, but the channels of the store are "
                f"{[v.name for v in channels]}"
            )
        self.config, self.grid, self.channels, self.time_step = config, grid, channels, time_step
        self.normalizer, self.n_history = normalizer, config.n_history
        self.register_buffer("static", static)
        self.moving_mask, moving = moving_mask, None
        if moving_mask:
            moving = torch.tensor([v.name in moving_mask for v in channels])[:, None, None]
            if mask is None:
                mask = torch.ones(len(channels), *static.shape[-2:], dtype=torch.bool)
        self.forcing = forcing
        self.register_buffer("mask", mask)
        self.register_buffer("moving", moving, persistent=False)
        prognostic = [i for i, v in enumerate(channels) if v.role == "prognostic"]
        persistent = [v.name in config.persistent_mean for v in channels]
        kept = [
            i for i, v in enumerate(channels) if persistent[i] or (v.conserved and config.conserve)
        ]
        places = torch.tensor(prognostic, dtype=torch.int64)  # there may be none
        self.register_buffer("_prognostic", places, persistent=False)
        self.register_buffer("_persistent", torch.tensor(persistent), persistent=False)
        is_prognostic = torch.tensor([v.role == "prognostic" for v in channels])[:, None, None]
        self.register_buffer("_residual", is_prognostic.to(static.dtype), persistent=False)
        least, positive = None, [v.positive and config.nonnegative for v in channels]
        if any(positive):
            least = torch.tensor([0.0 if p else -torch.inf for p in positive])[:, None, None]
        self.register_buffer("_least", least, persistent=False)
        self.area_means = AreaMeans(grid, kept, mask, moving) if kept else None
        baselines = len(prognostic) * (normalizer.climatology is not None)
        in_channels = len(prognostic) * config.history + len(config.forcing)
        in_channels += len(self.forcing_channels) + baselines + len(static)
        if config.noise is not None and config.noise.into == "first":
            in_channels += config.noise.total_channels
        self.network = network or build(config, in_channels, len(channels) * config.bundle, grid)
        self.noise: Noise | None = None
        if config.noise is not None:
            noise_grid = grid if config.noise.into == "first" else self.network.inner_grid
            self.noise = Noise(config.noise, noise_grid, time_step, drawn_on=grid)
        self.limiter, self.range_limiter, self.update = limiter, range_limiter, update
        self.smooth_fill: SmoothFill | None = None
        if config.fill == "smooth" and mask is not None:
            self.smooth_fill = SmoothFill(mask, grid)
        self.filter: nn.Module | None = None
        if config.dealias_lmax is not None:
            if config.dealias_lmax > grid.exact_lmax and network is None:
                raise ValueError(
                    f"model.dealias_lmax is {config.dealias_lmax}, but a {grid} grid resolves "
                    f"{grid.exact_lmax} degrees; take at most that"
                )
            # A model taken to a coarser grid drops what that one cannot resolve.
            if update is None:
                self.filter = Truncation(grid, min(config.dealias_lmax, grid.exact_lmax))

    @classmethod
    def from_store(
        cls, config: ModelConfig, store: Store, build: BuildNetwork = build_network
    ) -> Forecaster:
        """Build an untrained forecaster for the channels, grid and time step of a store.

        Args:
            config: the model's settings.
            store: training data.
            build: function that builds the network.

        Raises:
            ValueError: if the configuration asks for something that the store does not have.
        """
        forcing_fields(config.forcing, store.time[:1], store.grid)  # refuses unknown names now
        static = static_inputs(config.static, store)
        forcing = None
        if given := [v.name for v in store.channels if v.role == "forcing"]:
            forcing = ForcingChannels.from_store(store.select(channels=(), forcing=given))
            names = [name for name in store.channel_names if name not in given]
            store = store.select(channels=names)
        normalizer = Normalizer.from_store(
            store,
            config.baseline,
            climatology_input=config.climatology_input,
            longest=max(config.bundle, config.history_step),
        )
        limiter, range_limiter = None, None
        fed_back = [i for i, v in enumerate(store.channels) if v.role == "prognostic"]
        if fed_back and (factor := config.spectral_limit) is not None:
            limiter = SpectralLimiter.from_store(store, normalizer, fed_back, factor)
        if fed_back and (room := config.range_limit) is not None:
            range_limiter = RangeLimiter.from_store(store, normalizer, room)
        update = None
        if config.persistence == "damped":
            update = DampedUpdate.from_store(store, normalizer, config.dealias_lmax)
        forecaster = cls(
            config,
            store.grid,
            store.channels,
            store.time_step,
            normalizer,
            static,
            store.mask,
            limiter=limiter,
            moving_mask=store.moving_mask,
            forcing=forcing,
            update=update,
            build=build,
            range_limiter=range_limiter,
        )
        if config.baseline == "climatology" and update is None:
            forecaster.network.start_from(forecaster._damping())
        return forecaster

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Short names of the channels."""
        return tuple(v.name for v in self.channels)

    @property
    def change_scale(self) -> Tensor:
        """Size of what the network predicts, in normalised units, (bundle, c, 1, 1).

        It is that of a difference over one, two, ... steps; of diagnostic channels, which are not
        fed back, 1: the network predicts the value itself.
        """
        scales = self.normalizer.step_scales[: self.config.bundle]
        return torch.where(self._residual > 0, scales, 1.0)

    @property
    def forcing_channels(self) -> tuple[Variable, ...]:
        """Channels that are given at every time."""
        return () if self.forcing is None else self.forcing.channels

    @property
    def forcing_mask(self) -> Tensor | None:
        """Points at which the forcing channels need values, bool (f, nlat, nlon)."""
        return None if self.forcing is None else self.forcing.needed_points(self.grid)

    def step(self, state: State, forcing: Tensor | None = None) -> State:
        """Return the state one time step later; NaN outside the mask.

        Args:
            state: state with a history of `n_history`; outside the mask anything, NaN at missing
                points of channels with a moving mask.
            forcing: forcing channels one time step later, (b, f, nlat, nlon), physical units, NaN
                where missing; not given to a model without such channels.

        A model with noise gives a state without noise that of member 0 of an ensemble with seed
        0: one forecast, the same each time. See `with_noise`.

        Raises:
            ValueError: if the history is longer or shorter, or the forcing does not fit.
        """
        predicted = state if state.ahead else self.predict(state, forcing)
        return predicted.following(self.time_step.advance(state.time))

    def predict(self, state: State, forcing: Tensor | None = None) -> State:
        """Return a state with the fields of the next `model.bundle` steps ahead; see `step`.

        Args:
            state: state with a history of `n_history`, and nothing ahead.
            forcing: forcing channels one time step later; see `step`.
        """
        if len(state.history) != self.n_history:
            raise ValueError(
                f"the model sees {self.n_history + 1} states (model.history), got "
                f"{len(state.history) + 1}; give a state with a history of {self.n_history}"
            )
        times = [self.time_step.advance(state.time, n + 1) for n in range(self.config.bundle)]
        seen = [
            self.fill_missing(
                self.normalise(fields, self.time_step.advance(state.time, n - self.n_history))
            )
            for n, fields in enumerate(state.series)
            if n % self.config.history_step == 0
        ]
        present = seen[-1]
        if self.update is not None:
            seen = [self.update.visible(x) for x in seen]
        inputs, noise = self._inputs(seen, times[0], forcing), None
        if self.noise is not None:
            noise = self.noise.of(state)
            change = self.noise.apply_to(self.network, inputs, noise)
        else:
            change = self.network(inputs)
        change = change.to(state.fields.dtype)
        if self.update is not None:
            predictions = [self.update(present, change)]
        else:
            if self.filter is not None:
                change = self.filter(change)
            kept, changes = present * self._residual, change.chunk(len(times), dim=1)
            predictions = [kept + x * y for x, y in zip(changes, self.change_scale, strict=True)]
        if not self.training:
            predictions = [self._limited(x) for x in predictions]
        ahead = tuple(
            self._physical(x, state, time, limited=not self.training)
            for x, time in zip(predictions, times, strict=True)
        )
        if self.noise is not None and noise is not None:
            noise = self.noise.after_step(noise)
        return replace(state, noise=noise, ahead=ahead)

    def within_limits(self, following: State, before: State) -> tuple[State, Tensor]:
        """Return a predicted state as a rollout has it, and how much of it was out of range.

        In a rollout limits act; in training `step` predicts without them.

        Args:
            following: predicted states.
            before: states that they were predicted from.

        Returns:
            The states, and the share of the values of each that was out of range, (b,).
        """
        x = self.normalise(following.fields, following.time)
        share = x.new_zeros(len(x))
        if self.range_limiter is not None:
            share = self.range_limiter.share_outside(self._inside_mask(x, 0.0))
        fields = self._physical(self._limited(x), before, following.time, limited=True)
        return replace(following, fields=fields), share

    def with_noise(self, state: State, seeds: Sequence[Sequence[int]]) -> State:
        """Return a state with noise, which `step` carries on.

        The noise of a sample depends on its seed and on the number of steps since then alone.

        Args:
            state: initial state.
            seeds: for each sample some whole numbers from 0, as many for all: such as (seed,
                initial time in s, member).

        Raises:
            ValueError: if the model has no noise, or the seeds do not fit.
        """
        if self.noise is None:
            raise ValueError("the model has no noise (model.noise): it makes one forecast of a "
                "state; perturb its states, or train a model with noise")  # fmt: skip
        return self.noise.attach(state, seeds)

    def forward(self, state: State, forcing: Tensor | None = None) -> State:
        """See `step`."""
        return self.step(state, forcing)

    def normalise(self, fields: Tensor, time: Times) -> Tensor:
        """Return fields (b, c, nlat, nlon) in normalised units.

        They are zero outside the mask, and NaN at missing points of channels with a moving mask.
        """
        return self._inside_mask(self.normalizer.normalise(fields, time), 0.0)

    def fill_missing(self, normalised: Tensor) -> Tensor:
        """Return fields with values at all points, those that the network sees; see `model.fill`.

        Args:
            normalised: fields (b, c, nlat, nlon) from `normalise`.
        """
        if self.moving is None:
            return normalised if self.smooth_fill is None else self.smooth_fill(normalised)
        missing = normalised.isnan() & self.moving
        if self.smooth_fill is None:
            return normalised.where(~missing, 0.0)
        assert self.mask is not None
        return smooth_fill(normalised, self.mask & ~missing, self.grid)

    def on_grid(self, grid: Grid) -> Forecaster:
        """Return the same forecaster on another grid; it shares the weights of this one.

        Positional inputs are computed there; other static fields and the climatology are
        resampled, masks taken from the nearest point. With masks the climatology is interpolated.
        """
        normalizer, forcing = self.normalizer, self.forcing
        mask = None if self.mask is None else nearest(self.mask, self.grid, grid)
        if normalizer.climatology is not None:
            there = transferred(normalizer.climatology, self.mask, self.grid, grid)
            normalizer = normalizer.with_climatology(there)
        if forcing is not None and forcing.mask is not None:
            forcing = forcing.with_mask(nearest(forcing.mask, self.grid, grid))
        static = static_on_grid(self.config.static, self.static, self.grid, grid)
        other = Forecaster(
            self.config,
            grid,
            self.channels,
            self.time_step,
            normalizer,
            static,
            mask,
            self.network.on_grid(grid),
            None if self.limiter is None else self.limiter.on_grid(grid),
            self.moving_mask,
            forcing,
            None if self.update is None else self.update.on_grid(grid),
            range_limiter=self.range_limiter and self.range_limiter.on_grid(grid),
        )
        if self.noise is not None and other.noise is not None:
            other.noise = self.noise.on_grid(other.noise.grid)
        return other.to(self.static.device).train(self.training)

    def remove_limiters(self) -> None:
        """Remove the limits of spectrum and range; values that are never negative stay so."""
        self.limiter = self.range_limiter = None

    def use_calendar(self, calendar: Calendar) -> None:
        """Take valid times of a calendar, which may be another one than that of training."""
        self.time_step = replace(self.time_step, calendar=calendar)
        self.normalizer.time_step = self.time_step

    def whole_tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the module as a package holds them, on the first process of a mesh.

        All processes have to ask for it.
        """
        return {
            name: current().gather_rows(tensor, self.grid.nlat) if name in BY_ROWS else tensor
            for name, tensor in self.state_dict().items()
        }

    def _damping(self) -> Tensor:
        """Weights of the present anomaly that make steps damped persistence, (out, prognostic).

        With the ratio r of the difference over some steps to the anomaly, the autocorrelation after
        them is 1 − r²/2, a change of −r/2 in the unit of the difference. Training alone finds it
        late where no branch acts: the degrees beyond the spectral branch are a small part of the
        error, and all degrees share the weight that damps them.
        """
        scales = self.normalizer.step_scales[: self.config.bundle].flatten(1)
        return torch.cat([torch.diag(scale / -2)[:, self._prognostic] for scale in scales])

    def _inputs(
        self, seen: list[Tensor], target_time: Times, given: Tensor | None = None
    ) -> Tensor:
        """Inputs of the network, (b, in_channels, nlat, nlon).

        Args:
            seen: normalised states in the order of time, the present one last.
            target_time: valid times of the first state that is predicted.
            given: forcing channels at these times, physical units.
        """
        present = seen[-1]
        forcing = forcing_fields(
            self.config.forcing, target_time, self.grid, self.time_step.calendar
        ).to(present)
        # Steps rather than states: they are of order one too, and say what states hardly do.
        # The latest comes first, which the weights of packages rely on.
        scale = self.normalizer.step_scales[self.config.history_step - 1]
        steps = [(y - x) / scale for x, y in pairwise(seen)][::-1]
        parts = [x[:, self._prognostic] for x in (present, *steps)]
        parts.append(forcing)
        for x in given_inputs(self.forcing, given, present):
            there = ~x.isnan()
            smooth = self.config.fill == "smooth"
            parts.append(smooth_fill(x, there, self.grid) if smooth else x.where(there, 0.0))
        if self.normalizer.climatology is not None:
            # It tells places apart: fronts, the edge of the ice, the temperature of the ground.
            baseline = self.normalizer.climatology_of_order_one(target_time)
            if self.smooth_fill is not None:
                baseline = self.smooth_fill(baseline)
            parts.append(baseline[:, self._prognostic].expand(len(present), -1, -1, -1))
        parts.append(self.static.expand(len(present), -1, -1, -1))
        return torch.cat(parts, dim=1)

    def _limited(self, x: Tensor) -> Tensor:
        """Limit the spectrum of what is fed back, and the range, of fields in normalised units."""
        if self.limiter is not None:
            fed_back = self._inside_mask(x, 0.0)[:, self._prognostic]
            x = x.index_copy(1, self._prognostic, self.limiter(fed_back))
        return x if self.range_limiter is None else self.range_limiter(x)

    def _physical(self, x: Tensor, before: State, time: Times, *, limited: bool) -> Tensor:
        """Return predicted fields in physical units, with the area means that are kept."""
        following = self._keep_means(self.normalizer.denormalise(x, time), before, time)
        if self._least is not None and limited:
            following = torch.maximum(following, self._least.to(following.dtype))
        return self._inside_mask(following, torch.nan)

    def _keep_means(self, following: Tensor, state: State, target_time: Times) -> Tensor:
        """Keep area means, those of persistent channels with the season of the climatology."""
        if self.area_means is None:
            return following
        season = None
        if self.normalizer.of_anomalies:
            season = self.normalizer.baseline(target_time) - self.normalizer.baseline(state.time)
            season = season.where(self._persistent[:, None, None], 0.0)
        return self.area_means(following, state.fields, season)

    def _inside_mask(self, x: Tensor, outside: float) -> Tensor:
        return x if self.mask is None else x.where(self.mask, outside)

import dataclasses

import jax
import numpy as np
import pytest

from lrjax.benchmark import workload
from lrjax.data import augment, batches
from lrjax.geometry.points import SCHEMES
from lrjax.rng import per_example, stream
from lrjax.tasks import landmarks
from lrjax.training import parallel
from lrjax.training.state import State
from lrjax.training.step import init_state, make_step
from lrjax.training.task import Task

torch = pytest.importorskip("torch", reason="the optional extra `torch` is not installed")
from lrjax.benchmark import torch_networks, torch_step  # noqa: E402


@pytest.fixture(scope="module")
def task(s4) -> Task:
    return landmarks.make(s4, 1000)


@pytest.fixture(scope="module")
def state(task) -> State:
    state = init_state(task, jax.random.key(3))

    def waves(x: np.ndarray) -> np.ndarray:
        return 0.1 * np.cos(np.arange(x.size)).reshape(x.shape)

    # As after some training: nothing is tested at 0 or 1 alone. Variances stay positive.
    nets = {
        name: net.replace(
            params=jax.tree.map(lambda x: x + waves(x), net.params),
            stats=jax.tree.map(lambda x: x + np.abs(waves(x)), net.stats),
        )
        for name, net in state.nets.items()
    }
    return jax.device_get(state.replace(nets=nets))


def run_flax(module, variables, *inputs, train: bool) -> np.ndarray:
    module = module.clone(axis_name=None) if hasattr(module, "axis_name") else module
    mutable = list(variables.keys() - {"params"})
    run = jax.jit(lambda v, *x: module.apply(v, *x, train=train, mutable=mutable)[0])
    return np.asarray(run(variables, *inputs))


def run_torch(module, variables, *inputs) -> np.ndarray:
    torch_networks.load(module, variables)
    with torch.no_grad():
        out = module(*map(torch.tensor, inputs)).numpy()
    return out.transpose(0, 2, 3, 1) if out.ndim == 4 else out


def channels_first(*images) -> np.ndarray:
    joined = np.concatenate([np.asarray(x) for x in images], -1)
    return np.ascontiguousarray(joined.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", ["g1", "g2", "d2", "d3"])
def test_networks_are_alike(name, train, s4, g1, task, state) -> None:
    random = np.random.default_rng(0)
    count, size, points = 3, s4.size, SCHEMES[s4.scheme].count
    images = random.uniform(-1, 1, (count, size, size, 3)).astype(np.float32)
    maps = random.normal(size=(count, size, size, points + 1)).astype(np.float32)
    crops = random.uniform(-1, 1, (count, s4.image_size, s4.image_size, 3)).astype(np.float32)
    noise = random.normal(size=(count, g1.noise)).astype(np.float32)
    inputs, twin = {
        "g1": ((crops, noise), lambda: torch_networks.HighToLow(g1)),
        "g2": ((images,), lambda: torch_networks.UNet(3, points, s4.g2)),
        "d2": ((maps, images), lambda: torch_networks.UNet(points + 4, points, s4.d2)),
        "d3": ((maps, images), lambda: torch_networks.Critic(points + 4, size, s4.d3)),
    }[name]
    twin = twin().train(train)
    twin_inputs = (channels_first(crops), noise) if name == "g1" else (channels_first(*inputs),)
    net = state.nets[name]
    expected = run_flax(task.modules[name], net.variables, *inputs, train=train)
    found = run_torch(twin, net.variables, *twin_inputs)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.std(expected) > 1e-3
    assert sum(p.numel() for p in twin.parameters()) == sum(
        x.size for x in jax.tree.leaves(net.params)
    )


def test_weights_that_do_not_fit_are_refused(s4, state) -> None:
    module = torch_networks.UNet(3, SCHEMES[s4.scheme].count, s4.g2)
    variables = state.nets["g2"].variables
    extra = variables | {"params": variables["params"] | {"another": {"kernel": np.zeros((1, 1))}}}
    with pytest.raises(KeyError, match="another/kernel"):
        torch_networks.load(module, extra)


# PyTorch's compiler looks for a gradient wherever there is a tensor, and warns of itself.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("mode", ["eager", pytest.param("compile", marks=pytest.mark.slow)])
def test_steps_are_alike(mode, s4, g1, task, state) -> None:
    data = workload.random_faces(s4, 6)
    mesh = parallel.make_mesh(jax.devices()[:1])
    step = parallel.parallelise(make_step(task), mesh, "mesh", sharded=True, donate=False)
    own = parallel.replicate(state, mesh)
    variables = {name: net.variables for name, net in state.nets.items()}
    twin = torch_step.Step(s4, g1, variables, torch.device("cpu"), mode)
    for batch in batches.from_host(state.key, data, task.batch, start=0, stop=3):

        def keys(name: str, batch=batch, step=own.step) -> jax.Array:
            return per_example(stream(state.key, name, step), batch["labelled"]["example_index"])

        transforms = {
            part: draw(keys(name), round(1.5 * size), size, s4.augment)
            for part, name, size, draw in (
                ("labelled", "view", s4.image_size, augment.random_transforms),
                ("real", "real_view", s4.size, augment.whole_pixel_transforms),
            )
        }
        noise = jax.vmap(lambda key: jax.random.normal(key, (g1.noise,)))(keys("degrade"))
        draws = torch_step.Draws(
            **{name: torch.tensor(np.asarray(x)) for name, x in transforms.items()},
            noise=torch.tensor(np.asarray(noise)),
        )
        own, metrics = step(own, parallel.shard(batch, mesh))
        losses = twin(torch_step.tensors(batch, torch.device("cpu")), draws)
        for name, value in losses.items():
            np.testing.assert_allclose(value.numpy(), metrics[name], rtol=1e-3, err_msg=name)
        np.testing.assert_allclose(twin.k.numpy(), metrics["k"], rtol=1e-3, atol=1e-7)


def test_random_crops_spread_alike(s4) -> None:
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    found = torch_step.random_transforms(4000, 64, s4.augment, cpu).numpy()
    keys = jax.random.split(jax.random.key(0), 4000)
    expected = np.asarray(augment.random_transforms(keys, 96, 64, s4.augment))
    for quantile in (0.02, 0.5, 0.98):
        a, b = (np.quantile(x, quantile, axis=0) for x in (found, expected))
        np.testing.assert_allclose(a[:, :2], b[:, :2], atol=0.04)
        np.testing.assert_allclose(a[:, 2], b[:, 2], atol=2.5)


def test_only_s4_has_a_twin(s4) -> None:
    assert torch_step.obstacle(s4) is None
    assert "S4" in torch_step.obstacle(dataclasses.replace(s4, critics=("heatmap",)))
    flipped = dataclasses.replace(s4.augment, flip=0.5)
    assert "S4" in torch_step.obstacle(dataclasses.replace(s4, augment=flipped))

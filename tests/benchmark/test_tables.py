import pytest
from measured import RANKED

from lrjax.benchmark import training
from lrjax.benchmark.program import GRADIENTS, METRICS, STATISTICS, Collective, Memory, Program
from lrjax.benchmark.tables import identification_result, program_result, training_result
from lrjax.benchmark.timing import Times


def test_tables_of_identification_by_hand() -> None:
    times, memory = identification_result(RANKED, "command").tables
    # 10 x 100 x 500 x 2 = 1e6 operations.
    assert times.rows[0] == ("lrjax", 3.0, 2.8, 6.0, pytest.approx(1e-3 / 3), 1.4, "1.20-1.50")
    assert times.rows[1][5:] == (1.0, "1.00-1.00")
    assert times.rows[2][5:] == (2.0, "0.80-2.00")
    assert memory.rows == ((50, 0.1, 300.0, 0.0), (100, 0.2, 301.0, 1.0))


def test_tables_of_training_by_hand() -> None:
    found = training.Measurements(
        images=64,
        flops=4e9,
        product_flops=2.0 * 100**3,
        first={"constant batch": 30.0, "device feed": 31.0},
        steps={
            "constant batch": Times((2.0, 2.0, 4.0)),
            "device feed": Times((2.0, 2.5, 4.0)),
            "host feed": Times((2.5, 2.5, 5.0)),
            "matrix product": Times((1e-4, 1e-4, 1e-4)),
            "PyTorch, eager": Times((4.0, 5.0, 8.0)),
            "torch.compile": Times((1.0, 1.0, 4.0)),
        },
        forwards={
            batch: {
                "JAX": Times((0.01,) * 3),
                "PyTorch, eager": Times((0.02,) * 3),
                "torch.compile": Times((0.005,) * 3),
            }
            for batch in (1, 256)
        },
        machine={"device": "cpu", "devices": 2, "cores": 2, "jax": "0", "torch": "1"},
    )
    steps, work, forward, torch = training_result(found, "landmarks:s4-small", "command").tables
    assert steps.rows[0] == ("constant batch", 0.5, 32.0, 2000.0, 2000.0, 4000.0, 1.0)
    assert steps.rows[2][-1] == 0.8
    assert [value for _, value in work.rows] == pytest.approx([30, 31, 4, 2, 40, 5])
    assert forward.rows[1][-1] == pytest.approx(25600)
    assert torch.rows[0] == (
        *("training step", 2000.0),
        *(5000.0, 2.0, "2.00-2.50"),
        *(1000.0, 0.5, "0.50-1.00"),
    )


def test_tables_of_a_program_by_hand() -> None:
    found = Program(
        devices=4,
        examples=64,
        memory=Memory(arguments=9_000_000, outputs=8_000_000, aliased=7_000_000, temporaries=10**6),
        collectives=(
            Collective("all-reduce", (("f32", (2, 500)),), STATISTICS),
            Collective("all-reduce", (("f32", (250,)), ("f32", (3, 250))), GRADIENTS),
            Collective("all-reduce", (("f32", ()),), METRICS),
            Collective("all-reduce", (("bf16", (2, 500)),), STATISTICS),
        ),
        host=(),
        machine={"device": "cpu", "devices": 4, "cores": 2, "jax": "0"},
    )
    memory, exchanged = program_result(found, "landmarks:s4", "command").tables
    assert [value for _, value in memory.rows] == [9, 8, 7, 1, 11]
    assert "64 images on 4 devices" in memory.note
    assert exchanged.rows == (
        ("all-reduce of gradients", 1, 2, 0.004),
        ("all-reduce of batch statistics", 2, 2, 0.006),
        ("all-reduce of scalars of losses and metrics", 1, 1, 4e-6),
    )

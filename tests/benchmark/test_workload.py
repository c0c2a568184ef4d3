import numpy as np

from lrjax.benchmark import workload
from lrjax.tasks import degradation


def test_random_faces_are_what_a_run_would_load(s4) -> None:
    data = workload.random_faces(s4, 3)
    assert set(data) == {"labelled", "real"}
    assert data["labelled"]["images"].shape == (3, 48, 48, 3)
    assert data["real"]["images"].shape == (3, 12, 12, 3)
    assert data["labelled"]["images"].dtype == np.uint8
    points = data["labelled"]["points"]
    assert points.shape == (3, 5, 2)
    assert points.min() >= 8
    assert points.max() <= 39


def test_an_untrained_degradation_is_a_run_folder(s4, stage1) -> None:
    assert degradation.run_config(degradation.Path(s4.stage1)) == stage1
    net = degradation.load_net(s4.stage1, "g1")
    assert net.opt_state == ()
    assert net.params["stem"]["kernel"].shape == (3, 3, 4, 4)

from raykd.models.mobilenetv2 import mobilenetv2_half

STAGES = [(12, 16), (16, 8), (48, 4), (160, 2)]


def test_table_of_models(on_paper):
    on_paper(mobilenetv2_half, 812_836, 6.5, 1280, STAGES)


def test_contract(at_work):
    # Its stages are linear bottlenecks: nothing lies between them and the preacts.
    at_work(mobilenetv2_half, active=lambda preact: preact, size=32)


def test_names_are_those_of_the_crd_benchmark():
    state = mobilenetv2_half().state_dict()
    assert state["conv1.0.weight"].shape == (16, 3, 3, 3)
    assert state["blocks.0.0.conv.0.weight"].shape == (16, 16, 1, 1)
    assert state["blocks.6.0.conv.6.weight"].shape == (160, 480, 1, 1)
    assert state["conv2.1.running_mean"].shape == (1280,)
    assert state["classifier.0.weight"].shape == (100, 1280)

from brainnet.observation.tags import get_description
from brainnet.observation.tensorboard import build_layout


def test_every_chart_shows_known_tags_of_every_layer():
    for task in ("multiclass", "regression", None):
        for charts in build_layout(["a", "b"], task).values():
            for chart in charts:
                assert all(get_description(tag) for tag in chart.tags)


def test_the_score_fits_the_task():
    def scores(task):
        return [chart.title for chart in build_layout([], task)["loss function: does it learn?"]]

    assert scores("binary") == ["loss", "accuracy"]
    assert scores("regression") == ["loss", "R²"]

from brainnet.observation.layout import curated
from brainnet.observation.tags import meaning_of


def test_every_chart_shows_known_tags_of_every_layer():
    for task in ("multiclass", "regression", None):
        for charts in curated(["a", "b"], task).values():
            for chart in charts:
                assert all(meaning_of(tag) for tag in chart.tags)


def test_the_score_fits_the_task():
    def scores(task):
        return [chart.title for chart in curated([], task)["loss function: does it learn?"]]

    assert scores("binary") == ["loss", "accuracy"]
    assert scores("regression") == ["loss", "R²"]

from mt_sweeps.report.thinning import MOST_LINES, spread


def test_a_long_list_is_thinned_evenly_and_keeps_its_ends():
    thinned = spread(list(range(1000)))
    assert (thinned[0], thinned[-1], len(thinned)) == (0, 999, MOST_LINES)
    assert spread([1, 2, 3]) == [1, 2, 3]

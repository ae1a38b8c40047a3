"""Merging, holes and votes, against scipy's labels; in any strips the result is the same."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from geoseg.raster.strips import Strip
from geoseg.vector.generalize.majority import majority_filter
from geoseg.vector.generalize.merge import plan_merge
from geoseg.vector.generalize.regions import RegionGraph, count_regions, relabel
from geoseg.vector.generalize.rules import MergeRules

NODATA = 255


def in_strips(ids, step=None):
    step = step or len(ids)
    return [Strip(row, ids[row : row + step]) for row in range(0, len(ids), step)]


def whole(strips) -> np.ndarray:
    return np.concatenate([strip.ids for strip in strips])


def graph_of(ids, step=None) -> RegionGraph:
    return count_regions(in_strips(ids, step), ids.shape[1], len(ids), np.ones(len(ids)))


def merged(ids, rules, step=None) -> np.ndarray:
    graph = graph_of(ids, step)
    return whole(relabel(in_strips(ids, step), ids.shape[1], graph, plan_merge(graph, rules, NODATA)))


def rasters(values=(0, 1, 2, NODATA)):
    sides = st.integers(1, 16)
    return st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from(values)))


def parts(mask):
    """Masks of the 4-connected parts of a mask."""
    labels, count = ndimage.label(mask)
    return [labels == k for k in range(1, count + 1)]


@settings(max_examples=150, deadline=None)
@given(ids=rasters(), step=st.integers(1, 9))
def test_the_graph_knows_regions_and_borders(ids, step):
    graph = graph_of(ids, step)
    assert len(graph.class_id) == sum(len(parts(ids == class_id)) for class_id in np.unique(ids))
    assert graph.area.sum() == ids.size
    borders = (ids[1:] != ids[:-1]).sum() + (ids[:, 1:] != ids[:, :-1]).sum()
    assert graph.border.sum() == 2 * borders
    np.testing.assert_array_equal(whole(relabel(in_strips(ids, step), ids.shape[1], graph, graph.class_id)), ids)


@settings(max_examples=150, deadline=None)
@given(ids=rasters(), least=st.integers(2, 30), step=st.integers(1, 9))
def test_no_region_smaller_than_asked_for_is_left_unless_nodata_surrounds_it(ids, least, step):
    result = merged(ids, MergeRules(min_area=least), step)
    np.testing.assert_array_equal(result == NODATA, ids == NODATA)
    for class_id in np.unique(result[result != NODATA]):
        for part in parts(result == class_id):
            around = ndimage.binary_dilation(part) & ~part
            assert part.sum() >= least or (result[around] == NODATA).all()
    np.testing.assert_array_equal(result, merged(ids, MergeRules(min_area=least)))


@settings(max_examples=150, deadline=None)
@given(ids=rasters(), least=st.integers(2, 30), step=st.integers(1, 9))
def test_no_hole_smaller_than_asked_for_is_left(ids, least, step):
    result = merged(ids, MergeRules(fill_holes=least), step)
    for class_id in np.unique(result[result != NODATA]):
        for region in parts(result == class_id):
            for rest in parts(~region):
                at_edge = rest[0].any() or rest[-1].any() or rest[:, 0].any() or rest[:, -1].any()
                assert at_edge or rest.sum() >= least


@settings(max_examples=50, deadline=None)
@given(ids=rasters())
def test_without_rules_nothing_changes(ids):
    np.testing.assert_array_equal(merged(ids, MergeRules()), ids)


def test_a_small_region_goes_to_the_neighbour_with_the_longest_border():
    ids = np.repeat(np.uint8([0, 1]), 10)[None].repeat(12, axis=0)
    ids[10:] = 3
    ids[4:6, 8:12] = 2
    ids[4:6, 11] = 1
    result = merged(ids, MergeRules(min_area=7))
    assert (result[ids == 2] == 0).all()
    np.testing.assert_array_equal(result[ids != 2], ids[ids != 2])


def test_what_a_merged_region_joins_becomes_one_region():
    ids = np.uint8([[0, 0, 1, 0, 0]] * 3)
    assert (merged(ids, MergeRules(min_area=4)) == 0).all()


def test_a_hole_without_data_is_filled_and_one_at_the_edge_is_not():
    ids = np.zeros((9, 9), np.uint8)
    ids[4, 4] = NODATA
    ids[0, 4] = NODATA
    result = merged(ids, MergeRules(fill_holes=2))
    assert result[4, 4] == 0
    assert result[0, 4] == NODATA


def test_a_hole_of_several_regions_is_filled_as_one():
    ids = np.zeros((9, 9), np.uint8)
    ids[4, 3:6] = 1, 2, NODATA
    assert (merged(ids, MergeRules(fill_holes=4)) == 0).all()
    np.testing.assert_array_equal(merged(ids, MergeRules(fill_holes=3)), ids)


def test_areas_are_those_of_the_rows():
    ids = np.uint8([[0, 0], [1, 1], [2, 2]])
    graph = count_regions(in_strips(ids), 2, 3, np.array([1.0, 2.0, 5.0]))
    assert graph.area.tolist() == [2, 4, 10]


@settings(max_examples=100, deadline=None)
@given(ids=rasters(), step=st.integers(1, 9), side=st.sampled_from([3, 5, 7]))
def test_a_majority_in_strips_is_a_majority(ids, step, side):
    result = whole(majority_filter(in_strips(ids, step), side, NODATA))
    reach = side // 2
    for (row, col), own in np.ndenumerate(ids):
        around = ids[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]
        votes = np.bincount(around[around != NODATA], minlength=256)
        expected = own if own == NODATA or votes[own] == votes.max() else votes.argmax()
        assert result[row, col] == expected


def test_a_speck_is_voted_away():
    ids = np.zeros((5, 5), np.uint8)
    ids[2, 2] = 1
    assert (whole(majority_filter(in_strips(ids, 2), 3, NODATA)) == 0).all()


def test_confidence_passes_through():
    ids, confidence = np.zeros((4, 4), np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 4)
    strips = [Strip(row, ids[row : row + 1], confidence[row : row + 1]) for row in range(4)]
    kept = [strip.confidence for strip in majority_filter(strips, 3, NODATA)]
    np.testing.assert_array_equal(np.concatenate(kept), confidence)

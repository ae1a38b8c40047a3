"""Sizes on the ground, against pyproj's geodesics and the planets' own surfaces."""

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Geod, Transformer
from rasterio.crs import CRS as RasterioCRS

from geoseg.geo.geodesy import block_areas, geodetic_measure, pixel_size_m, row_areas_m2

EARTH_M2 = 510_065_621_724_000.0
MERCATOR_WORLD_M = 40_075_016.685578488
US_FOOT_M = 1200 / 3937
WGS84 = Geod(ellps="WGS84")

LOCAL = 'LOCAL_CS["unnamed",UNIT["metre",1]]'
MARS = "+proj=eqc +a=3396190 +b=3396190 +lat_ts=0 +units=m +type=crs"
ROTATED_POLE = (
    "+proj=ob_tran +o_proj=longlat +o_lon_p=-162 +o_lat_p=39.25 +lon_0=180 +R=6371229 +to_meter=0.0174532925199433"
)
GEOSTATIONARY = "+proj=geos +h=35785831 +lon_0=-75 +sweep=x +units=m +type=crs"


def square(x, y, side) -> np.ndarray:
    return np.array([shapely.box(x, y, x + side, y + side)])


def measured(polygons, crs, what) -> np.ndarray | None:
    west, south, east, north = shapely.total_bounds(polygons)
    measure = geodetic_measure(crs, np.array([(west, north), (west, south), (east, south), (east, north)]))
    _, xy, (rings, parts) = shapely.to_ragged_array(polygons)
    return None if measure is None else getattr(measure, what)(xy, rings.astype(int), parts.astype(int))


def area_m2(polygons, crs) -> np.ndarray | None:
    return measured(polygons, crs, "areas")


def geodesic_area(polygon) -> float:
    dense = shapely.segmentize(polygon, 0.001)
    return abs(WGS84.geometry_area_perimeter(dense)[0])


def on_the_ellipsoid(polygons, crs) -> np.ndarray:
    """Areas and perimeters (2, N) of projected polygons by pyproj, with a vertex at every 500th of a border."""
    system = CRS.from_user_input(crs)
    geodetic = system.geodetic_crs
    geod = Geod(a=geodetic.ellipsoid.semi_major_metre, b=geodetic.ellipsoid.semi_minor_metre)
    to_degrees = Transformer.from_crs(system, geodetic, always_xy=True)
    found = []
    for polygon in polygons:
        dense = shapely.segmentize(polygon, polygon.length / 500)
        degrees = shapely.transform(dense, lambda xy: np.stack(to_degrees.transform(*xy.T), axis=1))
        found.append(geod.geometry_area_perimeter(degrees))
    return np.abs(np.array(found)).T


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        ("EPSG:32617", Affine(10, 0, 5e5, 0, -10, 4e6), (10, 10)),
        ("EPSG:32617", Affine(10, 0, 5e5, 0, 5, 4e6), (10, 5)),
        ("EPSG:32617", Affine(3, 4, 5e5, 4, -3, 4e6), (5, 5)),
        ("EPSG:2263", Affine(2, 0, 1e6, 0, -2, 2e5), (2 * US_FOOT_M, 2 * US_FOOT_M)),
        ("EPSG:3035", Affine(100, 0, 4e6, 0, -100, 3e6), (100, 100)),
        ("EPSG:4326", Affine(1e-4, 0, 0, 0, -1e-4, 5e-3), (11.1319491, 11.0574276)),
        ("EPSG:3857", Affine(10, 0, 0, 0, -10, 8_399_737.9 + 500), (5.01260, 5.00417)),
        (MARS, Affine(5, 0, 0, 0, -5, 250), (5, 5)),
    ],
    ids=["utm", "south-up", "rotated", "us-feet", "laea", "geographic", "web-mercator-60n", "mars"],
)
def test_pixel_size(crs, transform, expected):
    assert pixel_size_m(CRS.from_user_input(crs), transform, 100, 100) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("crs", [None, RasterioCRS(), LOCAL, "EPSG:4978", "EPSG:5703"])
def test_nowhere_on_the_ground(crs):
    assert pixel_size_m(crs, Affine.identity(), 10, 10) is None
    assert row_areas_m2(crs, Affine.identity(), 10, 10) is None
    assert area_m2(square(0, 0, 1), crs) is None


@pytest.mark.parametrize("crs", [ROTATED_POLE, GEOSTATIONARY, MARS, "EPSG:4979", "EPSG:7415", "EPSG:4807", "EPSG:2053"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_odd_systems_do_not_raise(crs, scale):
    transform = Affine(scale, 0, 0, 0, -scale, 0)
    pixel_size_m(crs, transform, 7, 9)
    row_areas_m2(crs, transform, 7, 9)
    area_m2(square(0, 0, scale), crs)


def test_off_the_disk_of_a_geostationary_view():
    corner = Affine(1000, 0, 5.4e6, 0, -1000, 5.4e6)
    assert pixel_size_m(GEOSTATIONARY, corner, 10, 10) is None
    assert row_areas_m2(GEOSTATIONARY, corner, 10, 10) is None
    assert area_m2(square(5.4e6, 5.4e6, 1000), GEOSTATIONARY) is None


def test_geostationary_pixels_grow_towards_the_limb():
    full_disk = Affine(11_000, 0, -5.5e6, 0, -11_000, 5.5e6)
    areas = row_areas_m2(GEOSTATIONARY, full_disk, 1000, 1000)
    assert areas[0] == 0
    assert areas[500] == pytest.approx(11_000**2, rel=0.01)
    assert areas[100] > 1.9 * areas[500]


PLACES = [
    ("EPSG:32633", (5e5, 6e6), 1e3),
    ("EPSG:32633", (2e5, 6e6), 1e5),
    ("EPSG:32633", (8e5, 1e6), 2e5),
    ("EPSG:3031", (2e6, -1e6), 1e5),
    ("EPSG:3031", (-1e6, -1e6), 2e6),
    ("EPSG:3413", (-5e5, -5e5), 1e6),
    ("EPSG:2263", (1e6, 2e5), 1e5),
    ("EPSG:3035", (4e6, 3e6), 1e6),
    ("EPSG:27700", (4e5, 3e5), 1e5),
    ("EPSG:2056", (2.6e6, 1.2e6), 1e5),
    ("EPSG:3857", (1e6, 6e6), 1e5),
    ("ESRI:54009", (1e6, 4e6), 1e6),
]
"""Systems with the lower left corner and the side of a scene, in their units."""


@pytest.mark.parametrize(("crs", "corner", "side"), PLACES)
def test_areas_and_perimeters_are_those_on_the_ellipsoid_in_any_projection(crs, corner, side):
    (x, y), inner = corner, side / 20
    scene = shapely.box(x, y, x + side, y + side)
    places = [(x + side * column, y + side * row) for column in (0.01, 0.5, 0.9) for row in (0.01, 0.5, 0.9)]
    squares = [shapely.box(left, low, left + inner, low + inner) for left, low in places]
    leaning = [shapely.Polygon([(p, q), (p + inner, q + inner / 3), (p + inner / 2, q + inner)]) for p, q in places]
    hole = shapely.Polygon(squares[0].exterior, [squares[0].buffer(-inner / 4).exterior.reverse()])
    polygons = shapely.orient_polygons(np.array([*squares, *leaning, hole, scene]))
    areas, lengths = on_the_ellipsoid(polygons, crs)
    assert area_m2(polygons, crs) == pytest.approx(areas, rel=1e-6)
    assert measured(polygons, crs, "perimeters")[:-2] == pytest.approx(lengths[:-2], rel=1e-5)


def test_a_projection_that_keeps_areas_costs_no_digit():
    assert area_m2(square(4e6, 3e6, 30), "EPSG:3035").tolist() == [900]


@pytest.mark.parametrize(("crs", "corner", "side"), PLACES)
def test_rows_and_blocks_of_pixels_cover_what_the_scene_does(crs, corner, side):
    transform = Affine(side / 200, 0, corner[0], 0, -side / 200, corner[1] + side)
    scene = np.array([shapely.box(*corner, corner[0] + side, corner[1] + side)])
    whole = on_the_ellipsoid(scene, crs)[0][0]
    assert row_areas_m2(crs, transform, 200, 200).sum() * 200 == pytest.approx(whole, rel=1e-6)
    blocks = block_areas(crs, transform, 200, 200)
    if blocks is not None:
        tops = blocks.rows[:-1].tolist()
        heights = np.diff(blocks.rows).tolist()
        ends = np.concatenate([blocks.along_columns(top, h) for top, h in zip(tops, heights, strict=True)])
        areas = np.stack([np.interp(np.arange(200) + 0.5, blocks.columns, row) for row in ends])
        assert areas.shape == (200, 200)
        assert areas.sum() == pytest.approx(whole, rel=4e-6)
        step = side / 200
        corner_pixel = np.array([shapely.box(corner[0], corner[1] + side - step, corner[0] + step, corner[1] + side)])
        assert areas[0, 0] == pytest.approx(area_m2(corner_pixel, crs)[0], rel=1e-5)


def test_only_wide_scenes_have_pixels_of_several_sizes_along_a_row():
    assert block_areas("EPSG:32633", Affine(1, 0, 5e5, 0, -1, 6e6), 1000, 1000) is None
    assert block_areas("EPSG:32633", Affine(10, 0, 2e5, 0, -10, 6e6), 1000, 5000).side == 1024
    assert block_areas("EPSG:4326", Affine(0.5, 0, -180, 0, -0.5, 90), 360, 720) is None
    assert block_areas(None, Affine.identity(), 10, 10) is None


@pytest.mark.parametrize("latitude", [-89.9, -45, 0, 33.3, 60, 89])
def test_geographic_areas_are_geodesic(latitude):
    box = square(10, latitude, 0.1)
    assert area_m2(box, "EPSG:4326") == pytest.approx([geodesic_area(box[0])], rel=1e-6)


def test_rows_of_the_whole_earth():
    areas = row_areas_m2(RasterioCRS.from_epsg(4326), Affine(0.5, 0, -180, 0, -0.5, 90), 360, 720)
    assert areas.sum() * 720 == pytest.approx(EARTH_M2, rel=1e-9)


def test_grads():
    grads = row_areas_m2("EPSG:4807", Affine(0.1, 0, 0, 0, -0.1, 50), 10, 10)
    degrees = row_areas_m2("+proj=longlat +ellps=clrk80ign +type=crs", Affine(0.09, 0, 0, 0, -0.09, 45), 10, 10)
    assert grads == pytest.approx(degrees, rel=1e-9)


def test_web_mercator_is_measured_on_the_ground():
    pixel_m = MERCATOR_WORLD_M / 100
    world = Affine(pixel_m, 0, -MERCATOR_WORLD_M / 2, 0, -pixel_m, MERCATOR_WORLD_M / 2)
    to_85_degrees = EARTH_M2 * np.tanh(np.pi)  # the square of the web's maps, on a sphere
    assert row_areas_m2("EPSG:3857", world, 100, 100).sum() * 100 == pytest.approx(to_85_degrees, rel=1e-3)


def test_web_mercator_has_no_seam():
    edge = MERCATOR_WORLD_M / 2
    assert area_m2(square(edge - 5000, 5e6, 1e4), "EPSG:3857") == pytest.approx(
        area_m2(square(0, 5e6, 1e4), "EPSG:3857")
    )


def test_polar_stereographic_over_the_pole():
    # A square over the pole of EPSG:3413 is about 6 % larger on the ground than on the map.
    areas = area_m2(square(-5e5, -5e5, 1e6), "EPSG:3413")
    quarters = [area_m2(square(x, y, 5e5), "EPSG:3413")[0] for x in (-5e5, 0) for y in (-5e5, 0)]
    assert areas / 1e12 == pytest.approx([1.06], abs=0.01)
    assert sum(quarters) == pytest.approx(areas[0], rel=1e-3)


def test_rows_agree_with_polygons():
    transform = Affine(100, 0, -8.8e6, 0, -100, 4.8e6)
    rows = row_areas_m2("EPSG:3857", transform, 3, 2)
    pixels = np.array(
        [shapely.box(-8.8e6, 4.8e6 - 100 * (row + 1), -8.8e6 + 100, 4.8e6 - 100 * row) for row in range(3)]
    )
    assert area_m2(pixels, "EPSG:3857") == pytest.approx(rows, rel=1e-9)


def test_perimeters_are_geodesic():
    box = square(10, 60, 0.1)
    length = WGS84.geometry_area_perimeter(box[0])[1]
    assert measured(box, "EPSG:4326", "perimeters") == pytest.approx([length], rel=1e-9)
    assert measured(square(0, 8.4e6, 100), "EPSG:3857", "perimeters") == pytest.approx([200.4], rel=2e-3)


def test_holes_are_no_area_but_have_borders():
    hole = shapely.Polygon(square(0, 0, 100)[0].exterior, [shapely.box(10, 10, 20, 20).exterior.reverse().coords])
    polygons = np.array([square(300, 0, 10)[0], shapely.orient_polygons(hole), square(500, 0, 20)[0]])
    assert measured(polygons, MARS, "areas") == pytest.approx([100, 9900, 400])
    assert measured(polygons, MARS, "perimeters") == pytest.approx([40, 440, 80])


@pytest.mark.parametrize(
    "transform",
    [Affine(800, 600, 2e5, 600, -800, 6e6), Affine(1000, 0, 2e5, 0, 1000, 6e6), Affine(-1000, 0, 3e5, 0, -1000, 6e6)],
    ids=["rotated", "south-up", "mirrored"],
)
def test_rows_and_polygons_are_measured_however_the_raster_lies(transform):
    ring = [transform @ corner for corner in ((0, 0), (0, 100), (100, 100), (100, 0))]
    scene = np.array([shapely.Polygon(ring)])
    whole = on_the_ellipsoid(scene, "EPSG:32633")[0][0]
    _, xy, (rings, parts) = shapely.to_ragged_array(shapely.orient_polygons(scene))
    measure = geodetic_measure("EPSG:32633", np.array(ring))
    assert measure.areas(xy, rings.astype(int), parts.astype(int)) == pytest.approx([whole], rel=1e-6)
    assert row_areas_m2("EPSG:32633", transform, 100, 100).sum() * 100 == pytest.approx(whole, rel=1e-6)
    blocks = block_areas("EPSG:32633", transform, 100, 100)
    ends = [blocks.along_columns(top, blocks.side)[0] for top in blocks.rows[:-1].tolist()]
    areas = [np.interp(0.5, blocks.columns, row) for row in ends]
    pixels = [[(0, top), (0, top + 1), (1, top + 1), (1, top)] for top in blocks.rows[:-1].tolist()]
    expected = [shapely.Polygon([transform @ corner for corner in corners]) for corners in pixels]
    assert areas == pytest.approx(on_the_ellipsoid(expected, "EPSG:32633")[0], rel=1e-5)

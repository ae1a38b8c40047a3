"""How a config names losses: geoseg's own by their flat settings, any by name with its parameters below it."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from geoseg.core.errors import SpecError
from geoseg.spec import LossSpec, parse_spec
from geoseg.spec.loss import LOSSES, PARAMETERS

ALONE = {"cross_entropy": 0, "dice": 0}


def parse(**values) -> LossSpec:
    return parse_spec(LossSpec, values, source="config")


@pytest.fixture
def soft_dice(monkeypatch):
    """Another package's loss; it is not there to be loaded."""
    monkeypatch.setitem(LOSSES._others, "soft_dice", EntryPoint("soft_dice", "no_such:SoftDice", LOSSES.group))


def test_parameters_below_a_loss_are_its_flat_settings():
    nested = parse(**ALONE, tversky={"weight": 0.5, "alpha": 0.2, "beta": 0.8}, focal={"gamma": 3})
    assert nested == parse(**ALONE, tversky=0.5, tversky_alpha=0.2, tversky_beta=0.8, focal=1, focal_gamma=3)
    assert nested.terms["tversky"].parameters == {"alpha": 0.2, "beta": 0.8}


def test_every_parameter_of_a_loss_whose_weight_is_a_field_has_a_flat_setting_with_its_default():
    defaults = LossSpec()
    fields = [name for name in LOSSES.own if name in LossSpec.model_fields]
    own = {(name, field): value.default for name in fields for field, value in LOSSES.get(name).model_fields.items()}
    assert own == {place: getattr(defaults, field) for place, field in PARAMETERS.items()}


def test_settings_are_written_as_before_where_no_other_loss_is_named():
    assert list(parse(focal={"gamma": 1}).model_dump()) == list(LossSpec.model_fields)


def test_a_loss_of_another_package_goes_by_its_name(soft_dice):
    short, long = parse(soft_dice=2), parse(soft_dice={"weight": 2, "smooth": 1})
    assert short.terms["soft_dice"].weight == long.terms["soft_dice"].weight == 2
    assert (short.terms["soft_dice"].parameters, long.terms["soft_dice"].parameters) == ({}, {"smooth": 1})
    assert list(long.terms) == ["cross_entropy", "dice", "soft_dice"]
    assert parse(**long.model_dump(mode="json")) == long
    assert list(parse(**ALONE, soft_dice=1).terms) == ["soft_dice"]
    assert "soft_dice" not in parse(soft_dice=0).terms


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"soft_dise": 1}, r"unknown setting 'soft_dise', did you mean soft_dice\?; known here: cross_.*, soft_dice"),
        ({"focal_gama": 1}, r"unknown setting 'focal_gama', did you mean focal_gamma\?; known here: cross_entropy"),
        ({"focal": {"gama": 1}}, r"focal\.gama = 1: focal has no such setting, did you mean gamma\?; .*weight, gamma"),
        ({"focal": {"gamma": 1}, "focal_gamma": 2}, r"focal\.gamma = 1: this is loss\.focal_gamma, which is given too"),
        ({"focal": {"gamma": -1}}, r"focal_gamma = -1: it must be greater than or equal to 0"),
        ({"soft_dice": "much"}, r"soft_dice\.weight = 'much': give a number"),
        ({"soft_dice": -1}, r"soft_dice\.weight = -1: it must be greater than or equal to 0"),
        ({**ALONE, "soft_dice": 0}, "all losses have weight 0: give one of cross_entropy, .*soft_dice a positive"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line(soft_dice, values, message):
    with pytest.raises(SpecError, match=message) as caught:
        parse(**values)
    assert "\n" not in str(caught.value)


def test_names_are_known_without_torch():
    code = (
        "import sys; from geoseg.spec import LossSpec, parse_spec\n"
        "try: parse_spec(LossSpec, {'dyce': 1}, source='x')\n"
        "except Exception as error: print(error)\n"
        "assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "did you mean dice?" in run.stdout

"""Settings of the training method."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, field_validator, model_validator

from geoseg.core.errors import SpecError
from geoseg.core.registry import Registry
from geoseg.spec.base import Name, Spec

METHODS: Registry[Any] = Registry(
    "training method",
    "geoseg.methods",
    {
        "supervised": "geoseg.training.methods.supervised:Supervised",
        "distillation": "geoseg.training.methods.distillation:Distillation",
        "mean_teacher": "geoseg.training.methods.mean_teacher:MeanTeacher",
        "fixmatch": "geoseg.training.methods.fixmatch:FixMatch",
        "unimatch": "geoseg.training.methods.unimatch:UniMatch",
        "cps": "geoseg.training.methods.cps:CrossPseudoSupervision",
        "mutual_training": "geoseg.training.methods.mutual_training:MutualTraining",
        "cct": "geoseg.training.methods.cct:CrossConsistency",
        "self_training": "geoseg.training.methods.self_training:SelfTraining",
        "contrastive": "geoseg.training.methods.contrastive:Contrastive",
        "adversarial": "geoseg.training.methods.adversarial:Adversarial",
        "sac": "geoseg.training.methods.sac:Sac",
        "minent": "geoseg.training.methods.minent:MinEnt",
        "advent": "geoseg.training.methods.advent:AdvEnt",
        "style_transfer": "geoseg.training.methods.style_transfer:StyleTransfer",
        "fda": "geoseg.training.methods.fda:Fda",
        "dacs": "geoseg.training.methods.dacs:Dacs",
        "fcan": "geoseg.training.methods.fcan:Fcan",
        "dpl": "geoseg.training.methods.dpl:DualPath",
        "cam": "geoseg.training.methods.cam:ClassActivationMaps",
        "tree_energy": "geoseg.training.methods.tree_energy:TreeEnergy",
    },
)
"""Training methods by name; each is a `geoseg.training.methods.method.Method`."""


class MethodSpec(Spec):
    """A training method by name, or by name and parameters, which the method validates when a run begins."""

    model_config = ConfigDict(extra="allow")

    name: Name = "supervised"
    """supervised, another of `docs/few-labels.md` or `docs/new-regions.md`, distillation, or one of another package."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return METHODS.check(name)
        except SpecError as error:
            raise ValueError(str(error)) from None

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters by name."""
        return dict(self.model_extra or {})

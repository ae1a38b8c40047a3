import torch

from geoseg.models.branches.refine import RefiningSegmenter
from geoseg.models.runner import _leave_unfused


def test_methods_that_say_so_run_as_they_are_in_a_fused_network():
    fused = {}

    class Network(torch.nn.Module):
        UNFUSED = ("settle",)

        def forward(self, values):
            fused["forward"] = torch.compiler.is_compiling()
            return self.settle(values * 2)

        def settle(self, values):
            fused["settle"] = torch.compiler.is_compiling()
            return values + 1

    _leave_unfused(Network)
    answer = torch.compile(Network(), backend="eager")(torch.ones(2))
    assert answer.tolist() == [3, 3]
    assert fused == {"forward": True, "settle": False}
    assert RefiningSegmenter.UNFUSED == ("settle",)

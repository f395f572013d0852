"""Networks of model zoos: each unlearns a class without data, in two steps at a small size."""

import importlib.util
from pathlib import Path

import pytest
import torch
from hydra.utils import get_object

from tests.helpers.config import resolve
from unlearn.runner.run import run

KNOWN = ["dataset=none", "dataset.num_classes=10", "dataset.mean=[0.5,0.5,0.5]"]
GIVEN = [*KNOWN, "dataset.std=[0.25,0.25,0.25]"]
QUICK = [
    *("forget=[3]", "method=gkt", "method.iterations=2", "method.batch_size=4"),
    *("method.student_steps=1", "method.generator_width=4", "filter.gate=null"),
    *("evaluation=quick", "hardware.threads=1", "tracking.mode=disabled", "method.latent=8"),
]
# A network of timm or of torchvision, the size of its images, and further arguments.
NETWORKS: dict[str, list[tuple[str, int, list[str]]]] = {
    "timm": [
        ("resnet10t", 32, []),
        ("resnext50_32x4d", 32, ["+model.layers=[1,1,1,1]"]),
        ("seresnet18", 32, []),
        ("resnet50_gn", 32, ["+model.layers=[1,1,1,1]"]),  # group norm
        ("test_nfnet", 32, []),  # no norm
        ("densenet121", 32, ["+model.block_config=[2,2,2,2]"]),
        ("mobilenetv2_035", 32, []),
        ("mobilenetv3_small_050", 32, []),
        ("efficientnet_lite0", 32, []),
        ("test_efficientnet_gn", 32, []),  # group norm
        ("test_efficientnet_ln", 32, []),  # layer norm
        ("ghostnet_050", 32, []),
        ("convnext_atto", 32, []),
        ("regnetx_002", 32, []),
        ("regnety_002", 32, []),
        ("vgg11", 32, ["+model.mlp_ratio=0.02"]),
        ("vgg11_bn", 32, ["+model.mlp_ratio=0.02"]),
        ("vit_tiny_patch16_224", 32, ["+model.depth=2"]),
        ("deit_tiny_patch16_224", 32, ["+model.depth=2"]),
        ("deit_tiny_distilled_patch16_224", 32, ["+model.depth=2"]),  # two outputs in training
        (
            *("swin_tiny_patch4_window7_224", 32),
            ["+model.embed_dim=24", "+model.depths=[1,1,1,1]", "+model.num_heads=[1,1,1,1]"],
        ),
        ("mixer_s32_224", 32, []),
        ("resmlp_12_224", 32, []),
        ("mobilevit_xxs", 32, []),
        ("test_vit2", 32, []),
    ],
    "torchvision": [
        ("resnet18", 32, []),
        ("squeezenet1_1", 32, []),
        ("shufflenet_v2_x0_5", 32, []),
        ("mnasnet0_5", 32, []),
        ("googlenet", 32, ["+model.init_weights=false"]),  # three outputs in training
    ],
}
CASES = [(zoo, *network) for zoo, networks in NETWORKS.items() for network in networks]


@pytest.mark.slow
@pytest.mark.parametrize(("zoo", "name", "size", "more"), CASES, ids=[c[1] for c in CASES])
def test_network_unlearns_a_class_without_data(
    zoo: str, name: str, size: int, more: list[str], tmp_path: Path
) -> None:
    if importlib.util.find_spec(zoo) is None:
        pytest.skip(f"{zoo} is not installed")
    words = [
        f"model={zoo}",
        f"model.architecture={name}",
        f"dataset.shape=[3,{size},{size}]",
        *more,
    ]
    model = resolve(*words, *GIVEN, "model.checkpoint=none").model
    torch.manual_seed(0)
    teacher = get_object(model.factory)(**model.arguments)
    torch.save(teacher.state_dict(), checkpoint := tmp_path / "teacher.pt")
    files = [f"model.checkpoint={checkpoint}", f"run_dir={tmp_path / 'run'}"]
    outcome = run(resolve(*words, *GIVEN, *QUICK, *files))
    assert outcome.record["status"] == "complete"
    assert outcome.record["model"] == name
    student = torch.load(outcome.directory / "student.pt", weights_only=True)
    assert student.keys() == teacher.state_dict().keys()
    assert all(v.isfinite().all() for v in student.values() if v.is_floating_point())
    assert any(not torch.equal(v, student[k]) for k, v in teacher.state_dict().items())

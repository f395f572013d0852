"""`unlearn --help`, from the conf/ tree alone: Hydra's own takes a second to list the groups."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

from omegaconf import OmegaConf


def help_text(conf: Path, arguments: Sequence[str]) -> str:
    """The help that conf/config.yaml holds, with the options of every group.

    Args:
        conf: the conf/ tree.
        arguments: of the command line; the user's own `--config-dir` has options too.
    """
    template: str = OmegaConf.load(conf / "config.yaml").hydra.help.template
    lines = [
        f"{group}: {', '.join(sorted(names))}"
        for group, names in sorted(_options([conf, *_config_dirs(arguments)]).items())
        if not group.startswith("hydra/")  # those of its plugins lie elsewhere
    ]
    return Template(template).substitute(APP_CONFIG_GROUPS="\n".join(lines))


def _options(trees: Sequence[Path]) -> dict[str, set[str]]:
    """Names of the options of every group, those of all trees together."""
    found: dict[str, set[str]] = {}
    for tree in trees:
        for path in tree.glob("*/**/*.yaml"):
            found.setdefault(path.parent.relative_to(tree).as_posix(), set()).add(path.stem)
    return found


def _config_dirs(arguments: Sequence[str]) -> Iterator[Path]:
    for index, argument in enumerate(arguments):
        option, sign, value = argument.partition("=")
        if option in ("--config-dir", "-cd"):
            yield Path(value if sign else "".join(arguments[index + 1 : index + 2]))

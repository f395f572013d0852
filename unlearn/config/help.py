"""`unlearn --help`, read from the conf/ tree, which is a second faster than Hydra's own help."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template

from omegaconf import OmegaConf


def help_text(conf: Path, arguments: Sequence[str]) -> str:
    """Return the help text of conf/config.yaml, with the options of every group.

    Args:
        conf: The conf/ tree.
        arguments: Arguments of the command line; a `--config-dir` among them adds options.
    """
    template: str = OmegaConf.load(conf / "config.yaml").hydra.help.template
    lines = [
        f"{group}: {', '.join(sorted(names))}"
        for group, names in sorted(_options([conf, *_config_dirs(arguments)]).items())
        if not group.startswith("hydra/")  # Hydra's plugins keep theirs elsewhere
    ]
    return Template(template).substitute(APP_CONFIG_GROUPS="\n".join(lines))


def _options(trees: Sequence[Path]) -> dict[str, set[str]]:
    """Return the names of the options of every group in any tree."""
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

"""The help of all commands: in sections, in the order of their use, each with an example."""

from collections.abc import Mapping

import click

SECTIONS = {
    "Before a sweep": {
        "init": "mt-sweep init images/ --hours 2",
        "schema": "mt-sweep schema -o schema.json",
        "validate": "mt-sweep validate images.yaml",
        "preview": "mt-sweep preview images.yaml -o preview.png",
        "plan": "mt-sweep plan images.yaml --trials 32",
        "doctor": "mt-sweep doctor images.yaml",
    },
    "Run": {
        "run": "mt-sweep run images.yaml --trials 32 --set trainer.steps=2000",
        "resume": "mt-sweep resume images --trials +16",
        "add": "mt-sweep add images ema.decay=0.99",
        "end": "mt-sweep end images 7",
        "stop": "mt-sweep stop images",
        "submit": "mt-sweep submit images.yaml --address http://localhost:8265",
    },
    "Look": {
        "status": "mt-sweep status images",
        "list": "mt-sweep list",
        "trials": "mt-sweep trials images --csv",
        "show": "mt-sweep show images 7",
        "compare": "mt-sweep compare images images-2",
        "report": "mt-sweep report images",
        "dashboard": "mt-sweep dashboard images",
    },
    "Use the result": {
        "best": "mt-sweep best images",
        "export": "mt-sweep export images -o best.yaml",
        "train": "mt-sweep train best.yaml --seeds 5",
        "inspect": "mt-sweep inspect images",
        "predict": "mt-sweep predict images-1a2b3c4d-seed-0 photos/ -o classes.csv",
    },
    "Keep house": {
        "copy": "mt-sweep copy images -o again.yaml",
        "sync": "mt-sweep sync images",
        "rm": "mt-sweep rm images",
    },
}
"""Of each section its commands, and of each command an example; a section's example is that of its first command."""

_NAME_WIDTH = max(len(name) for commands in SECTIONS.values() for name in commands)


class Sections(click.Group):
    """A group whose help lists its commands in sections, and cuts no sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, examples in SECTIONS.items():
            with formatter.section(title):
                rows = [(f"{name:{_NAME_WIDTH}}", self.commands[name].get_short_help_str(1_000)) for name in examples]
                formatter.write_dl(rows)
                formatter.write(f"{'':{formatter.current_indent}}Example: {next(iter(examples.values()))}\n")


def with_examples(commands: Mapping[str, click.Command]) -> None:
    """Add an example to the help of each command."""
    for examples in SECTIONS.values():
        for name, example in examples.items():
            commands[name].epilog = f"Example: {example}"

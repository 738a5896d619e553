import json
from importlib.metadata import version
from pathlib import Path

import click
import yaml


@click.command()
@click.option("--source", type=click.Path(exists=True))
@click.option("--target", type=click.Path())
def main(source, target):
    fruit = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    ripe = sorted(name for name, days in fruit.items() if days > 30)
    Path(target).write_text(json.dumps({"ripe": ripe, "click": version("click")}))
    click.echo(f"harvested {', '.join(ripe)}")

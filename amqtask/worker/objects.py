"""Objects: a drawing of what holds the objects of a type in this process, to find out why it grows."""

import importlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from amqtask.core.message import Json

DRAW_WITHIN = 50.0


def draw(arguments: Mapping[str, Json]) -> Json:
    """`{"filename": …}`: a picture on this machine, or its source in DOT where Graphviz is missing; or an error."""
    if importlib.util.find_spec("objgraph") is None:
        return {"error": "objgraph is not installed with the worker: pip install objgraph"}
    objgraph = importlib.import_module("objgraph")
    name = str(arguments["type"])
    objects = objgraph.by_type(name)[: arguments["num"]]
    if not objects:
        return {"error": f"there is no object of a type {name!r} in this process"}
    source = Path(tempfile.mkdtemp(prefix="amqtask-objgraph-")) / "graph.dot"
    with source.open("w") as file:
        objgraph.show_backrefs(objects, max_depth=arguments["max_depth"], output=file)
    dot = shutil.which("dot")
    if dot is None:
        return {"filename": str(source)}
    picture = source.with_suffix(".png")
    subprocess.run([dot, "-Tpng", "-o", str(picture), str(source)], timeout=DRAW_WITHIN, check=True)
    return {"filename": str(picture)}

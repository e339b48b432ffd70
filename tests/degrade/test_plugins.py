"""A degradation of someone else's package is one like any other."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

OP = """
    from typing import Annotated, ClassVar
    from million_ird.degrade.dist import Between, Spec, draw
    from million_ird.degrade.op import Op

    class Brighten(Op):
        "Multiplies by a gain."
        family: ClassVar[str] = "brightness"
        tier: ClassVar[str] = "exact"
        gain: Annotated[Spec, Between(1, 4)] = (1.5, 2)
        "How much brighter."

        def draw(self, rng, shape):
            return {"gain": draw(self.gain, rng), "more": float(rng.normal())}

        @classmethod
        def render(cls, image, params):
            return image * params["gain"], None
"""

USE = """
    import json, sys
    import numpy as np
    from million_ird import degrade as D
    from million_ird.errors import ConfigError

    pipe = D.load({"pipeline": [{"op": "Brighten", "gain": 2}]})
    image = np.full((4, 4, 3), 50, np.uint8)
    out = pipe(image, seed=1)
    try:
        D.load({"pipeline": [{"op": "Brighten", "gain": 9}]})
    except ConfigError as error:
        wrong = str(error)
    replayed = D.replay(image, json.loads(json.dumps(out.trace)))
    print(json.dumps([pipe.classes, int(out.lq[0, 0, 0]), bool((replayed == out.lq).all()), wrong]))
"""


def test_an_op_that_a_package_registers_is_known_to_recipes_and_to_the_list(tmp_path, monkeypatch):
    info = tmp_path / "brighten-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brighten\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[million_ird.degradations]\nBrighten = brighten:Brighten\n")
    (tmp_path / "brighten.py").write_text(textwrap.dedent(OP))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(USE)], capture_output=True, text=True, check=True)
    classes, value, replayed, wrong = json.loads(done.stdout)
    assert classes == ["brightness"]
    assert value == 100
    assert replayed
    assert "pipeline.0 (Brighten): gain: 9 is outside 1 to 4" in wrong
    listed = subprocess.run([sys.executable, "-m", "million_ird", "degrade", "--list"], capture_output=True, text=True)
    assert "Brighten" in listed.stdout

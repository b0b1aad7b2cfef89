"""The record of what a model's run cost: kept, or set aside where it is damaged, which is told."""

from dataclasses import asdict

from cpcnn_core.evaluation.comparison import _outcome
from cpcnn_core.evaluation.embedding_runs import Cost, Run, _kept_cost
from cpcnn_core.io.damaged_files import write_checked

COST = Cost(96, 12.5, 20.25, 980.0, {"model": "tiny", "device": "cpu"})


def test_a_changed_byte_anywhere_is_told_by_name_and_set_aside(tmp_path):
    path = tmp_path / "cost.json"
    write_checked(path, asdict(COST), indent=1)
    whole = path.read_bytes()
    assert _kept_cost(path) == (COST, "")
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        cost, damage = _kept_cost(path)
        assert cost is None
        assert damage.startswith(f"{path} was damaged: it is kept as cost.json.damaged")
        assert not path.exists()
        (tmp_path / "cost.json.damaged").unlink()
    assert str(path) in _outcome(Run(tmp_path, True, "", cost, [damage], damage=damage))

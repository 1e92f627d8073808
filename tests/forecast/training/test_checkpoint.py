"""Checkpoints of a run: atomic writing, and checks when they are read."""

import pytest
import torch

from forecast.training.checkpoint import TrainingCheckpoint, load_checkpoint, save_checkpoint


def test_one_changed_byte_of_a_checkpoint_is_noticed(tmp_path):
    save_checkpoint(TrainingCheckpoint(10, {"x": torch.ones(9)}, {"best": 1.0}), tmp_path, keep=2)
    tensors = tmp_path / "training_state/00000010/tensors.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-5] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(ValueError, match=r"00000010/tensors.safetensors is damaged"):
        load_checkpoint(tmp_path)


def test_checkpoints_keep_the_last_ones_and_survive_a_torn_write(tmp_path):
    for step in (10, 20, 30):
        tensors = {"x": torch.tensor([float(step)])}
        save_checkpoint(TrainingCheckpoint(step, tensors, {"best": 1 / step}), tmp_path, keep=2)
    folder = tmp_path / "training_state"
    assert sorted(p.name for p in folder.iterdir()) == ["00000020", "00000030"]
    (folder / "00000040").mkdir()  # a folder that something else left half made
    last = load_checkpoint(tmp_path)
    assert (last.step, last.tensors["x"].item(), last.values) == (30, 30.0, {"best": 1 / 30})
    assert load_checkpoint(tmp_path / "absent") is None

"""Memory and hours: what more of something makes of them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract.work import ByVllm, Drawn, Trained
from pipeline.costs import hours, memory
from pipeline.costs.assumptions import Assumptions
from pipeline.costs.devices import DEVICES, Device
from pipeline.costs.lengths import Asked
from pipeline.costs.memory import Drawing, Setting, Training
from pipeline.costs.shape import module_of, shape_of
from pipeline.costs.sharing import Sharing

CONFIG: dict[str, Any] = {
    "model_type": "qwen3", "vocab_size": 512, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 4096,
}
SHAPE, MODULE = shape_of(CONFIG), module_of(CONFIG)
GIVEN = ByVllm("given")
ASSUMED = Assumptions(2.0, 0.4, 0.25, 0.3, 2**30)
H100, CPU = DEVICES["h100"], Device("this", 2**35, 2e11, 1e11, 2e10, 0.0, 2)
ALONE = Setting(H100, Sharing(), ASSUMED)


def _training(batch: int = 16, length: int = 64, **learning: object) -> Training:
    trained = Trained(None, batch, 10, length, learning={"optimizer": {"name": "adamw"}, **learning})
    return Training(trained, CONFIG, SHAPE, length, length, length)


def _shared(kind: str, processes: int) -> Setting:
    return replace(ALONE, sharing=Sharing(kind, processes))  # type: ignore[arg-type]


@pytest.mark.parametrize("device", [H100, CPU], ids=["gpu", "processor"])
def test_memory_grows_with_what_is_held_at_once(device: Device) -> None:
    setting = replace(ALONE, device=device)
    found = [memory.of_training(_training(micro_batch_tokens=tokens), setting).peak for tokens in (64, 256, 1024)]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_sharding_divides_what_it_says() -> None:
    whole = memory.of_training(_training(), _shared("DDP", 4))
    zero2, fsdp = (memory.of_training(_training(), _shared(kind, 4)) for kind in ("ZeRO-2", "FSDP2"))
    assert (zero2.weights, zero2.gradients, zero2.optimizer) == (
        whole.weights, whole.gradients / 4, whole.optimizer / 4
    )
    assert (fsdp.weights, fsdp.gradients, fsdp.optimizer) == (
        whole.weights / 4, whole.gradients / 4, whole.optimizer / 4
    )


def test_a_reference_is_held_beside_the_model() -> None:
    training = _training()
    beside = replace(training, trained=replace(training.trained, reference=True))
    more = memory.of_training(beside, ALONE).peak - memory.of_training(training, ALONE).peak
    assert more == pytest.approx(SHAPE.weights, rel=0.01)


@pytest.mark.parametrize(("device", "taken"), [(H100, 0.3 * H100.memory), (CPU, 0.0)], ids=["gpu", "processor"])
def test_vllm_on_the_stages_own_gpu_takes_its_share(device: Device, taken: float) -> None:
    setting = replace(ALONE, device=device)
    alone, beside = (
        memory.of_training(replace(_training(), drawn=Drawn("base", 8, 64, vllm=by)), setting).peak
        for by in (GIVEN, ByVllm("inside", besides=0.3))
    )
    assert beside - alone == pytest.approx(taken)


@pytest.mark.parametrize(("native", "dtype", "drawn_in", "more"), [
    (True, "float32", None, 0.0), (True, "bfloat16", None, 0.75), (True, "float32", "bfloat16", 0.75),
    (False, "float32", None, 1.0), (False, "bfloat16", None, 1.75),
])
def test_rollouts_are_read_again_where_what_drew_them_is_not_what_learns(
    native: bool, dtype: str, drawn_in: str | None, more: float
) -> None:
    training = _training(dtype=dtype, mixed_precision=False)
    rounds = replace(training.trained, steps=20)  # of 4 updates
    drawn = Drawn("base", 8, 64, 4, rounds=5, dtype=drawn_in, vllm=None if native else GIVEN, trained=True)
    plain, found = (
        hours.of_training(replace(training, trained=rounds, drawn=one), 1e6, ALONE).flops for one in (None, drawn)
    )
    assert found / plain == pytest.approx((3 + more) / 3)


@given(rows=st.integers(1, 4096), most=st.integers(1, 4000), dtype=st.sampled_from(["float32", "bfloat16", None]))
def test_drawing_holds_weights_and_cache(rows: int, most: int, dtype: str | None) -> None:
    for device in (H100, CPU):
        setting = replace(ALONE, device=device)
        drawing = Drawing(Drawn("base", 1, most, dtype=dtype), SHAPE, Asked(rows, 32.0))
        found, more = memory.of_drawing(drawing, setting), memory.of_drawing(
            replace(drawing, drawn=replace(drawing.drawn, most=most + 1000)), setting
        )
        assert min(found.weights, found.activations, found.cache, found.besides) > 0
        assert found.peak > found.weights + found.cache
        assert drawing.at_once(1) <= 512
        assert more.cache >= found.cache or rows > 30  # longer rows are fewer at once


@pytest.mark.parametrize(("kind", "copies"), [("FSDP2", 1), ("ZeRO-3", 1), ("ZeRO-2", 0)])
def test_rollouts_of_a_policy_in_parts_come_from_a_whole_copy(kind: str, copies: int) -> None:
    training = memory.of_training(_training(), _shared("FSDP2", 4))
    drawing = Drawing(Drawn("base", 8, 64, trained=True), SHAPE, Asked(16, 32.0), training=training)
    shared, replicated = (memory.of_drawing(drawing, _shared(kind, 4)) for kind in (kind, "DDP"))
    assert shared.besides - replicated.besides == pytest.approx(copies * SHAPE.weights)


@given(tokens=st.floats(1e3, 1e12), processes=st.sampled_from([1, 2, 8]))
def test_hours_are_divided_by_processes_and_grow_with_tokens(tokens: float, processes: int) -> None:
    setting = _shared("DDP", processes)
    one, two = (hours.of_training(_training(), count, setting) for count in (tokens, 2 * tokens))
    assert two.seconds == pytest.approx(2 * one.seconds)
    assert one.flops / tokens == pytest.approx(3 * hours.forward(SHAPE, 32))
    assert hours.of_training(_training(batch=16 * processes), tokens, setting).seconds == pytest.approx(
        hours.of_training(_training(), tokens, ALONE).seconds / processes
    )


def test_checkpointing_takes_a_third_more() -> None:
    plain, kept = (hours.of_training(_training(gradient_checkpointing=kept), 1e9, ALONE) for kept in (False, True))
    assert kept.flops == pytest.approx(plain.flops * 4 / 3)


def test_a_module_costs_what_its_layer_does() -> None:
    training = _training()
    beside = replace(training, module=MODULE, trained=replace(training.trained, mtp="with"))
    plain, found = (hours.of_training(one, 1e9, ALONE) for one in (training, beside))
    assert found.flops - plain.flops == pytest.approx(3e9 * hours.forward(MODULE, 32))
    one, sharded = (memory.of_training(beside, setting) for setting in (ALONE, _shared("ZeRO-2", 4)))
    alone = memory.of_training(training, ALONE)
    assert one.besides - alone.besides == pytest.approx(16 * MODULE.parameters, rel=0.02)
    assert (one.weights, one.gradients) == (alone.weights, alone.gradients)
    assert sharded.besides == pytest.approx(one.besides)  # whole in every process


@pytest.mark.parametrize("device", [H100, CPU], ids=["gpu", "processor"])
def test_drafts_are_read_together_and_spare_forwards(device: Device) -> None:
    setting = replace(ALONE, device=device)
    config = {**CONFIG, "hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 4096}
    shape, module = shape_of(config), module_of(config)
    drawing = Drawing(Drawn("base", 1, 1000), shape, Asked(1, 0.0))
    drafted = replace(drawing, drawn=replace(drawing.drawn, speculate="mtp"), module=module)
    off, on = (hours.of_drawing(one, setting) for one in (drawing, drafted))
    forwards = 600 / (1 + 0.8 + 0.8**2)
    assert on.flops == pytest.approx(forwards * (3 * hours.forward(shape, 300) + 2 * hours.forward(module, 300)))
    assert on.tokens == off.tokens
    assert on.seconds < off.seconds  # a row alone is drawn as fast as weights are read
    without, held = (memory.of_drawing(one, setting) for one in (drawing, drafted))
    assert held.weights - without.weights == 4 * module.parameters
    assert held.cache - without.cache == 4 * 1000 * module.cached
    copied = replace(drawing, drawn=replace(drawing.drawn, speculate="lookup"))
    assert memory.of_drawing(copied, setting).weights == without.weights
    assert hours.of_drawing(copied, setting).flops > off.flops


def test_drawing_is_as_fast_as_the_memory() -> None:
    large = shape_of({**CONFIG, "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336})
    drawing = Drawing(Drawn("base", 1, 1000), large, Asked(1, 0.0))
    found = hours.of_drawing(drawing, ALONE)
    read = 600 * 4 * large.parameters / (H100.bandwidth * 0.3)  # a row alone reads all weights for each of 600 tokens
    assert found.seconds == pytest.approx(read, rel=0.05)


def test_the_longest_row_goes_through_whole() -> None:
    short, long = _training(batch=4, length=64), _training(batch=4, length=2048, micro_batch_tokens=2048)
    among = replace(short, longest=2048)
    assert memory.of_training(among, ALONE).activations == memory.of_training(long, ALONE).activations
    assert memory.of_training(replace(short, longest=100), ALONE) == memory.of_training(short, ALONE)
    assert hours.of_training(among, 1e6, ALONE) == hours.of_training(short, 1e6, ALONE)


def test_a_server_draws_on_its_own_gpus() -> None:
    drawing = Drawing(Drawn("base", 8, 100, vllm=GIVEN), SHAPE, Asked(4000, 50.0))
    alone, eight = (hours.of_drawing(drawing, setting).seconds for setting in (ALONE, _shared("DDP", 8)))
    served = replace(drawing, drawn=replace(drawing.drawn, vllm=ByVllm("started", 2)))
    two = hours.of_drawing(served, _shared("DDP", 8)).seconds
    assert eight < two < alone
    assert two == hours.of_drawing(served, ALONE).seconds

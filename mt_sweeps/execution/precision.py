"""What `precision: auto` stands for in a sweep: the same for all of its trials, whatever they run on."""

from mt_sweeps.execution.resources import Share
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.terminal import print

_AMPERE = (8, 0)  # the compute capability of the first GPUs with units for bfloat16


def with_precision(spec: SweepSpec, share: Share, on_all_nodes: bool | None) -> SweepSpec:
    """Return the specification with the precision that `auto` stands for; print it.

    Args:
        spec: of the sweep.
        share: what a trial gets.
        on_all_nodes: whether all nodes of a cluster compute in bfloat16 themselves; None: trials run on this machine.
    """
    if spec.trainer.get("precision") != "auto":
        return spec
    chosen = {spec.config(values, arm).chosen_precision(has_bf16_units=True) for values, arm in spec.corners()}
    precision = "fp32"
    if chosen != {"bf16"}:
        why = "bf16 was not measured with these networks"
    elif not (have_bf16_units(share.gpus) if on_all_nodes is None else on_all_nodes):
        why = "where trials run there are no units for bf16"
    else:
        precision, why = "bf16", "measured to cost this network nothing, and there are units for it where trials run"
    print(f"precision: {precision}: {why}", flush=True)
    return spec.model_copy(update={"trainer": {**spec.trainer, "precision": precision}})


def have_bf16_units(gpus: float) -> bool:
    """Return whether what trials run on, on this machine, computes in bfloat16 itself.

    Args:
        gpus: that a trial gets. NVML knows their capability; CUDA would take memory of each to find it.
    """
    if gpus:
        import pynvml

        try:
            pynvml.nvmlInit()
            handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
            return all(pynvml.nvmlDeviceGetCudaComputeCapability(handle) >= _AMPERE for handle in handles)
        except pynvml.NVMLError:
            return False
    import torch

    from trainers.devices import has_bf16_units

    return has_bf16_units(torch.device("cpu"))

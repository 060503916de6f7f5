"""What the report says of each file besides its row: the zeros of its kernels, the rungs of its ladder, its cost on devices."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import zip_longest

from edgedqn.benchmarks.report.charts import KernelZeros
from edgedqn.benchmarks.report.page import DeviceCost, FileDetails, Rung
from edgedqn.benchmarks.rows import Benchmark
from edgedqn.compression.report import Findings, StageReport
from edgedqn.export.devices.npu import NpuEstimate
from edgedqn.export.edge_policy import PolicyFileError, VerifiedFile, read_verified
from edgedqn.export.tflite_file.reader import kernels
from edgedqn.pipeline.bundle import POLICY
from edgedqn.pipeline.run_folder import RunFolder


def file_details(run: RunFolder, benchmark: Benchmark) -> dict[str, FileDetails]:
    """By the name of the row; none of files that are gone, damaged, or others than those that were measured."""
    found, costs = {}, device_costs(run)
    for row in benchmark.rows:
        if row.status == "ok":
            try:
                file = read_verified(run.path / row.file)
            except PolicyFileError:
                continue
            if file.file_sha256 == row.sha256:
                archive = run.archive.name if file.file_sha256 in costs and run.archive.exists() else None
                found[row.name] = replace(_details(file, costs.get(file.file_sha256, ())), archive=archive)
    return found


def device_costs(run: RunFolder) -> dict[str, tuple[DeviceCost, ...]]:
    """What a step of the bundle's policy costs on small devices, by the digest of the policy; empty without a bundle."""
    try:
        bundled = read_verified(run.device / POLICY)
    except PolicyFileError:
        return {}
    evidence, costs = bundled.evidence, []
    if plain := (evidence.get("microcontroller") or {}).get("cortex_m4"):
        costs.append(
            DeviceCost(
                device="Cortex-M4, policy.c",
                step=f"{plain['instructions']:,} instructions of policy_infer()",
                flash_bytes=plain["code_bytes"] + plain["constants_bytes"],
                ram_bytes=plain["stack_bytes"],
                known="emulated",
            )
        )
    if npu := evidence.get("npu"):
        estimate = NpuEstimate(**npu["estimate"])
        costs.append(
            DeviceCost(
                device=f"{estimate.accelerator}, {estimate.system_config}, {estimate.memory_mode}",
                step=f"{estimate.cycles:,} cycles; {estimate.npu_operators} of {estimate.operators} operators on the NPU",
                flash_bytes=estimate.flash_bytes,
                ram_bytes=estimate.sram_bytes + estimate.dram_bytes,
                known=f"estimate of {estimate.compiler}: {npu['label']}",
                is_estimate=True,
            )
        )
    return {bundled.file_sha256: tuple(costs)}


def what_was_skipped(run: RunFolder, reports: Mapping[str, Sequence[StageReport]]) -> list[str]:
    """What stages of recipes, by their `reports`, and the verification of files could not do: a line each, with the reason."""
    told = [
        f"{name}, {each.stage}: {reason}"
        for name, of_recipe in reports.items()
        for each in of_recipe
        if each.findings.rung is None  # a ladder may go on to its next rung: the JSON says why it did
        for reason in each.findings.skipped or ()
    ]
    reasons: dict[str, list[str]] = {}
    for name in reports:
        with suppress(PolicyFileError):
            found = read_verified(run.model(name)).evidence.get("verification", {})
            for what, each in found.items():
                if reason := each.get("skipped"):
                    reasons.setdefault(f"verification in {what}: {reason}", []).append(name)
    return [*told, *(f"{', '.join(names)}, {reason}" for reason, names in reasons.items())]


def _details(file: VerifiedFile, costs: Sequence[DeviceCost]) -> FileDetails:
    try:
        findings = [Findings.from_json(stage) for stage in file.evidence.get("recipe", {}).get("stages", [])]
    except (AttributeError, KeyError, TypeError, ValueError):  # the evidence is of another version
        findings = []
    stored = kernels(file.model)
    asked = next((each.sparsity_asked for each in findings if each.sparsity_asked), ())
    zeros = [
        KernelZeros(kernel.values.shape, zeros=1 - kernel.nonzero_weights / kernel.weights, asked=share)
        for kernel, share in zip_longest(stored, asked[: len(stored)])
    ]
    return FileDetails(kernels=zeros, rungs=_rungs(findings), costs=costs)


def _rungs(findings: Sequence[Findings]) -> list[Rung]:
    return [
        Rung(
            name=attempt.rung,
            taken=i == each.chosen,
            verdict=attempt.judgement.verdict,
            mean_return=attempt.judgement.mean_return,
            agreement=attempt.judgement.gap_weighted_agreement,
            tie_rate=attempt.judgement.tie_rate,
            size_bytes=attempt.judgement.size_bytes,
            lacking=attempt.lacking or "",
        )
        for each in findings
        for i, attempt in enumerate(each.attempts or ())
        if attempt.rung is not None
    ]

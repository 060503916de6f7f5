"""From an environment's name to a proven int8 policy, in about ten lines: `python examples/train_and_export.py`."""

import edgedqn

result = edgedqn.run("CartPole-v1", out="runs/example", seed=0, recipes=["qat-int8"])
for row in result.benchmark["rows"]:
    print(f"{row['name']}: return {row['return']['mean']:.1f}, {row['size_bytes']} bytes, gate {row['gate']}")
if result.best:
    policy = edgedqn.EdgePolicy.load(result.folder / "device" / "policy.tflite")
    print("Action for a pole that leans to the right:", policy([0.0, 0.0, 0.1, 0.0]))

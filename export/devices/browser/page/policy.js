// A policy in a browser: observation in, action out, scaled in float32 as edge_policy.py does. The file has float ends: what it
// rounds, it rounds inside.

import { Environment, Tensor, loadAndCompile, loadLiteRt } from "./litert/litert.js";

export class BrowserPolicy {
  // `model`: a compiled model with one float32 input and output; `device`: the manifest's device part.
  constructor(model, environment, device) {
    this.device = device;
    this.environment = environment;
    this.model = model;
    this.shape = Array.from(model.getInputDetails()[0].shape); // [1, ...]
    this.size = this.shape.reduce((product, size) => product * size, 1);
    this.scale = numbers(device.input.scale);
    this.offset = numbers(device.input.offset);
    this.scaled = this.scale.some((value) => value !== 1) || this.offset.some((value) => value !== 0);
    this.frames = [];
  }

  // Fetches `manifest.json` and `policy.tflite` beside the page. Rejects where the file is not the manifest's.
  static async load() {
    const [manifest, content] = await Promise.all([fetched("manifest.json", "json"), fetched("policy.tflite", "arrayBuffer")]);
    if (globalThis.crypto?.subtle) { // absent on plain http from another machine
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
      const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
      if (found !== manifest.file_sha256) {
        throw new Error(`policy.tflite is damaged: expected SHA-256 ${manifest.file_sha256}. Got ${found}.`);
      }
    }
    // LiteRT reports its start on stderr, which would be errors in the console.
    self.Module = { print() {}, printErr() {} };
    await loadLiteRt("./litert/litert_wasm_internal.js");
    const environment = await Environment.create({ webGpuDevice: null });
    const model = await loadAndCompile(new Uint8Array(content), { accelerator: "wasm", environment });
    const policy = new BrowserPolicy(model, environment, manifest.device);
    policy.bytes = content.byteLength;
    policy.recording = manifest.recording && (await recorded(manifest));
    return policy;
  }

  // Starts a new episode: forgets the frames of the last one.
  reset() {
    this.frames = [];
  }

  // The action for one observation: a flat array of the environment's numbers in row-major order, or the number of a state.
  // `mask`, [A]: which actions are legal; a policy whose preprocessing has `action_mask` needs it.
  async act(observation, mask) {
    const row = await this.preferences(observation, mask);
    let best = -1;
    for (let i = 0; i < row.length; i++) {
      if ((!mask || mask[i]) && (best < 0 || row[i] > row[best])) best = i; // the lowest index among equals
    }
    if (best < 0) throw new Error("Expected a legal action or more. Got none.");
    return best;
  }

  // The environment's own action of an index, an array of numbers in row-major order; the index itself where it names none.
  own(index) {
    const levels = this.device.environment.actions?.levels;
    if (!levels) return index;
    return levels.toReversed().map((each) => {
      const level = each[index % each.length];
      index = Math.floor(index / each.length);
      return level;
    }).toReversed();
  }

  // The output row, Float32Array [A].
  async preferences(observation, mask) {
    const input = this.preprocess(observation, mask);
    if (this.scaled) {
      for (let i = 0; i < input.length; i++) { // each step rounded to float32: multiply, then add
        const product = Math.fround(input[i] * this.scale[i % this.scale.length]);
        input[i] = product + this.offset[i % this.offset.length];
      }
    }
    const tensor = new Tensor(input, this.shape, this.environment);
    const [output] = await this.model.run([tensor]);
    const row = Float32Array.from(output.toTypedArray()); // a copy: the tensor's memory goes with it
    tensor.delete();
    output.delete();
    return row;
  }

  preprocess(observation, mask) {
    let x = typeof observation === "number" ? observation : Float32Array.from(observation);
    const bad = typeof x === "number" ? undefined : x.find((value) => !Number.isFinite(value));
    if (bad !== undefined) throw new Error(`Bad observation: expected finite numbers. Got ${bad}.`); // before a frame is kept
    for (const step of this.device.environment.preprocessing) {
      const [name, count] = step.split(":");
      if (name === "one_hot") {
        const { n_actions: actions, preprocessing } = this.device.environment;
        const states = this.size - (preprocessing.includes("action_mask") ? actions : 0);
        if (!Number.isInteger(x) || x < 0 || x >= states) {
          throw new Error(`No such state: expected an integer in 0 .. ${states - 1}. Got ${x}.`);
        }
        const state = x;
        x = new Float32Array(states);
        x[state] = 1;
      } else if (name === "action_mask") {
        const actions = this.device.environment.n_actions;
        if (mask?.length !== actions) throw new Error(`Expected a mask of ${actions}. Got ${mask?.length ?? "none"}.`);
        x = Float32Array.from([...x, ...mask].map(Number));
      } else if (name === "frame_stack") {
        x = this.stack(x, Number(count));
      } // flat already, and what `atari` does is done before
    }
    if (x.length !== this.size) throw new Error(`Wrong observation size: expected ${this.size}. Got ${x.length}.`);
    return x;
  }

  // [F] -> [K F], [H, W] -> [H, W, K], [H, W, C] -> [H, W, K C]; the first frame of an episode fills the stack.
  stack(frame, count) {
    if (frame.length * count !== this.size) {
      throw new Error(`Wrong observation size: expected ${this.size / count}. Got ${frame.length}.`);
    }
    do this.frames.push(frame); while (this.frames.length < count);
    this.frames = this.frames.slice(-count);
    const shape = this.device.environment.observation_shape;
    const channels = shape.length === 2 ? 1 : shape.at(-1);
    const stacked = new Float32Array(frame.length * count);
    this.frames.forEach((each, k) => {
      for (let i = 0; i < each.length; i++) {
        const pixel = Math.floor(i / channels);
        stacked[(pixel * count + k) * channels + (i % channels)] = each[i];
      }
    });
    return stacked;
  }
}

// A list of numbers, or many as float32 in base64.
function numbers(values) {
  if (typeof values !== "string") return Float32Array.from(values);
  return new Float32Array(Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0)).buffer);
}

// What was recorded in Python: `frames`, bytes [N][size] in row-major order, and the `actions` [N] taken there.
async function recorded({ device, recording: { file, actions } }) {
  const packed = new Blob([await fetched(file, "arrayBuffer")]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(packed).arrayBuffer());
  const size = device.environment.observation_shape.reduce((product, each) => product * each, 1);
  if (bytes.length !== size * actions.length) throw new Error(`${file}: expected ${actions.length} frames of ${size} bytes.`);
  return { actions, frames: actions.map((_, i) => bytes.subarray(i * size, (i + 1) * size)) };
}

async function fetched(name, kind) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} is missing: the server answered ${response.status}.`);
  return response[kind]();
}

// The page: plays the policy where its environment is known or was recorded, else runs it on random observations; shows how fast
// it is.

import { draw, drawImage } from "./drawing.js";
import { environments } from "./dynamics.js";
import { BrowserPolicy } from "./policy.js";

const TIMED_STEPS = 2_000; // browsers round their clocks to 100 µs, so many steps are timed as one
const element = (id) => document.getElementById(id);

class Player {
  constructor(policy, id) {
    this.policy = policy;
    this.id = id;
    this.rules = environments[id];
    this.framesPerSecond = this.rules.framesPerSecond;
    this.returns = [];
    this.begin();
  }

  begin() {
    this.policy.reset();
    this.state = this.rules.reset(Math.random);
    this.steps = this.sum = 0;
    this.over = false;
  }

  async step() {
    if (this.over) this.begin();
    const action = await this.policy.act(this.rules.observe(this.state));
    const [state, reward, terminated] = this.rules.step(this.state, action);
    this.state = state;
    this.steps += 1;
    this.sum += reward;
    this.action = action;
    this.over = terminated || this.steps >= this.rules.timeLimit;
    if (this.over) this.returns.push(this.sum);
  }

  show() {
    draw(element("stage"), this.id, this.state);
    element("return").textContent = this.sum.toFixed(0);
    element("step").textContent = `${this.steps} of ${this.rules.timeLimit}`;
    element("action").textContent = this.rules.actions[this.action] ?? "–";
    const n = this.returns.length;
    const mean = this.returns.reduce((sum, each) => sum + each, 0) / n;
    element("mean").textContent = n ? `${mean.toFixed(1)} (${n})` : "–";
  }
}

// Shows the policy what it was shown in Python; what it does changes nothing there.
class Watcher {
  framesPerSecond = 15; // as Atari's agents decide

  constructor(policy, id) {
    this.policy = policy;
    this.id = id;
    this.brightest = policy.recording.frames.reduce((most, frame) => frame.reduce((a, b) => (a > b ? a : b), most), 1);
    element("stage").classList.add("image");
    this.begin();
  }

  begin() {
    this.policy.reset();
    this.steps = this.same = 0;
    this.over = false;
  }

  async step() {
    const { frames, actions } = this.policy.recording;
    if (this.over) this.begin();
    this.action = await this.policy.act(frames[this.steps]);
    this.same += this.action === actions[this.steps];
    this.steps += 1;
    this.over = this.steps === frames.length;
  }

  show() {
    const { frames } = this.policy.recording, shape = this.policy.device.environment.observation_shape;
    drawImage(element("stage"), shape, frames[Math.max(0, this.steps - 1)], this.brightest);
    element("step").textContent = `${this.steps} of ${frames.length}`;
    element("action").textContent = this.action ?? "–";
    element("same").textContent = `${this.same} of ${this.steps}`;
  }
}

async function main() {
  const policy = await BrowserPolicy.load();
  const { id, n_actions: actions } = policy.device.environment;
  element("title").textContent = `${id}, played by its policy`;
  document.title = `${id} · EdgeDQN`;
  element("size").textContent = `${policy.bytes.toLocaleString("en")} bytes`;
  element("provenance").textContent = `Recipe ${policy.device.recipe}. ${actions} actions, the largest preference wins.`;
  const micros = await timeSteps(policy);
  element("latency").textContent = `${micros.toFixed(1)} µs`;
  const Shown = environments[id] ? Player : policy.recording ? Watcher : undefined;
  const computed = "Every action is computed in this browser, by the policy file";
  element("status").textContent = !Shown
    ? "This page has no simulation of the environment: the policy ran on random observations."
    : Shown === Player ? `${computed}.` : `${computed}, from what an episode showed it in Python.`;
  if (Shown) play(new Shown(policy, id));
  return policy;
}

// Mean time of one step, observation to action, in µs.
async function timeSteps(policy) {
  const { observation_shape: shape } = policy.device.environment;
  const size = shape.reduce((product, each) => product * each, 1);
  const observation = shape.length ? Float32Array.from({ length: size }, () => Math.random() - 0.5) : 0;
  const { preprocessing, n_actions: actions } = policy.device.environment;
  const mask = preprocessing.includes("action_mask") ? new Array(actions).fill(1) : undefined; // all are legal
  policy.reset();
  let begun = 0, action = 0;
  for (let i = -TIMED_STEPS / 10; i < TIMED_STEPS; i++) {
    if (i === 0) begun = performance.now();
    action = await policy.act(observation, mask);
  }
  const spent = performance.now() - begun;
  element("action").textContent = action;
  policy.reset();
  return (1_000 * spent) / TIMED_STEPS;
}

function play(player) {
  // Who asks for less motion decides when it begins.
  let running = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let busy = false, last = performance.now(), owed = 0;
  const figures = document.querySelectorAll(player instanceof Player ? ".playing" : ".recorded");
  for (const shown of [element("stage"), element("controls"), ...figures]) shown.hidden = false;
  element("stage").setAttribute("aria-label", `${player.id}, drawn as the policy plays it`);
  const label = () => (element("pause").textContent = running ? "Pause" : "Play");
  element("pause").addEventListener("click", () => {
    running = !running;
    label();
  });
  element("restart").addEventListener("click", () => (player.over = true));
  label();
  player.show();
  requestAnimationFrame(async function frame(now) {
    requestAnimationFrame(frame);
    const elapsed = Math.min(now - last, 100); // a tab that slept does not catch up
    last = now;
    if (!running || busy) return;
    busy = true;
    owed += (elapsed / 1_000) * player.framesPerSecond * Number(element("speed").value);
    try {
      for (; owed >= 1; owed -= 1) await player.step();
      player.show();
      busy = false; // else it stays so: what failed once is not tried sixty times a second
    } catch (error) {
      tell(error);
    }
  });
}

function tell(error) {
  element("status").textContent = error.message;
  element("status").classList.add("wrong");
}

// `await policy` in the console, and in tests.
globalThis.policy = main();
globalThis.policy.catch(tell);

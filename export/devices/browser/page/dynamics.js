// The classic-control environments, as gymnasium steps them: equations, constants and reset ranges are gymnasium's.
// A state is an array of doubles; `step` returns [state, reward, terminated]; `observe` gives what a policy sees, float32.

const uniform = (random, low, high) => low + (high - low) * random();
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// Barto, Sutton and Anderson (1983). State: cart position m, its speed, pole angle rad, its speed. Euler, 0.02 s.
const cartPole = (timeLimit) => ({
  timeLimit,
  framesPerSecond: 50,
  actions: ["push left", "push right"],
  reset: (random) => Array.from({ length: 4 }, () => uniform(random, -0.05, 0.05)),
  observe: (state) => Float32Array.from(state),
  step([x, speed, angle, turning], action) {
    const massCart = 1.0, massPole = 0.1, half = 0.5, tau = 0.02, gravity = 9.8;
    const mass = massCart + massPole, poleMoment = massPole * half;
    const force = action === 1 ? 10 : -10;
    const cos = Math.cos(angle), sin = Math.sin(angle);
    const temp = (force + poleMoment * (turning * turning) * sin) / mass;
    const turningRate = (gravity * sin - cos * temp) / (half * (4 / 3 - (massPole * (cos * cos)) / mass));
    const rate = temp - (poleMoment * turningRate * cos) / mass;
    const state = [x + tau * speed, speed + tau * rate, angle + tau * turning, turning + tau * turningRate];
    return [state, 1, Math.abs(state[0]) > 2.4 || Math.abs(state[2]) > (12 * 2 * Math.PI) / 360];
  },
});

// Moore (1990). State: position, velocity per step.
const mountainCar = {
  timeLimit: 200,
  framesPerSecond: 30,
  actions: ["push left", "coast", "push right"],
  reset: (random) => [uniform(random, -0.6, -0.4), 0],
  observe: (state) => Float32Array.from(state),
  step([position, velocity], action) {
    velocity = clamp(velocity + ((action - 1) * 0.001 + Math.cos(3 * position) * -0.0025), -0.07, 0.07);
    position = clamp(position + velocity, -1.2, 0.6);
    if (position === -1.2 && velocity < 0) velocity = 0;
    return [[position, velocity], -1, position >= 0.5 && velocity >= 0];
  },
};

// Sutton (1996), the book's equations. State: two angles rad and their speeds; fourth-order Runge-Kutta, 0.2 s.
const acrobot = {
  timeLimit: 500,
  framesPerSecond: 15,
  actions: ["torque -1", "no torque", "torque +1"],
  reset: (random) => Array.from({ length: 4 }, () => Math.fround(uniform(random, -0.1, 0.1))),
  observe: ([a, b, da, db]) => Float32Array.of(Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b), da, db),
  step(state, action) {
    const torque = action - 1, dt = 0.2;
    const along = (k, time) => state.map((value, i) => value + time * k[i]);
    const k1 = acrobotRates(state, torque);
    const k2 = acrobotRates(along(k1, dt / 2), torque);
    const k3 = acrobotRates(along(k2, dt / 2), torque);
    const k4 = acrobotRates(along(k3, dt), torque);
    const [a, b, da, db] = state.map((value, i) => value + (dt / 6) * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]));
    const next = [wrap(a), wrap(b), clamp(da, -4 * Math.PI, 4 * Math.PI), clamp(db, -9 * Math.PI, 9 * Math.PI)];
    const terminated = -Math.cos(next[0]) - Math.cos(next[1] + next[0]) > 1;
    return [next, terminated ? 0 : -1, terminated];
  },
};

// Both links weigh 1 kg and are 1 m long, their centres of mass at 0.5 m, their moments of inertia 1.
function acrobotRates([a, b, da, db], torque) {
  const centre = 0.5, gravity = 9.8;
  const d1 = centre ** 2 + (1 + centre ** 2 + 2 * centre * Math.cos(b)) + 2;
  const d2 = centre ** 2 + centre * Math.cos(b) + 1;
  const phi2 = centre * gravity * Math.cos(a + b - Math.PI / 2);
  const phi1 =
    -centre * db ** 2 * Math.sin(b) -
    2 * centre * db * da * Math.sin(b) +
    (centre + 1) * gravity * Math.cos(a - Math.PI / 2) +
    phi2;
  const ddb = (torque + (d2 / d1) * phi1 - centre * da ** 2 * Math.sin(b) - phi2) / (centre ** 2 + 1 - d2 ** 2 / d1);
  return [da, db, -(d2 * ddb + phi1) / d1, ddb];
}

function wrap(angle) {
  while (angle > Math.PI) angle -= 2 * Math.PI;
  while (angle < -Math.PI) angle += 2 * Math.PI;
  return angle;
}

export const environments = {
  "CartPole-v0": cartPole(200),
  "CartPole-v1": cartPole(500),
  "MountainCar-v0": mountainCar,
  "Acrobot-v1": acrobot,
};

// Draws a state of each environment of dynamics.js, on a canvas of 600 x 360 units.

export const WIDTH = 600, HEIGHT = 360;

// Draws an image of bytes, [H, W] or [H, W, C], in grays from black to `brightest`: of C channels the largest of each pixel.
export function drawImage(canvas, [height, width, channels = 1], bytes, brightest) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    const gray = (255 * Math.max(...bytes.subarray(pixel * channels, (pixel + 1) * channels))) / brightest;
    image.data.set([gray, gray, gray, 255], 4 * pixel);
  }
  context.putImageData(image, 0, 0);
}

export function draw(canvas, environmentId, state) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  if (canvas.width !== width) { // its own pixels are the screen's, or lines would blur
    canvas.width = width;
    canvas.height = Math.round((width * HEIGHT) / WIDTH);
  }
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / WIDTH, 0, 0, canvas.width / WIDTH, 0, 0);
  context.clearRect(0, 0, WIDTH, HEIGHT);
  context.lineCap = context.lineJoin = "round";
  scenes[environmentId.split("-")[0]](context, state, (name) => style.getPropertyValue(`--${name}`));
}

const scenes = {
  CartPole(context, [x, , angle], colour) {
    const scale = WIDTH / 5.2, rail = 290;
    line(context, [[0, rail], [WIDTH, rail]], 2, colour("ground"));
    for (const limit of [-2.4, 2.4]) line(context, [[at(limit), rail - 14], [at(limit), rail + 14]], 4, colour("ground"));
    context.fillStyle = colour("body");
    context.beginPath();
    context.roundRect(at(x) - 34, rail - 20, 68, 40, 6);
    context.fill();
    // The pole is 1 m, drawn half as long again as the rail's scale would have it.
    const foot = [at(x), rail - 20];
    line(context, [foot, [foot[0] + 190 * Math.sin(angle), foot[1] - 190 * Math.cos(angle)]], 12, colour("link"));
    dot(context, foot, 7, colour("ground"));
    function at(metres) {
      return WIDTH / 2 + metres * scale;
    }
  },

  MountainCar(context, [position], colour) {
    const place = (x) => [((x + 1.2) / 1.8) * WIDTH, 320 - (Math.sin(3 * x) * 0.45 + 0.55) * 260];
    const slope = Array.from({ length: 121 }, (_, i) => place(-1.2 + (1.8 * i) / 120));
    line(context, slope, 3, colour("ground"));
    const flag = place(0.5);
    line(context, [flag, [flag[0], flag[1] - 44]], 3, colour("goal"));
    context.fillStyle = colour("goal");
    context.beginPath();
    context.moveTo(flag[0], flag[1] - 44);
    context.lineTo(flag[0] + 24, flag[1] - 36);
    context.lineTo(flag[0], flag[1] - 28);
    context.fill();
    const [x, y] = place(position);
    context.save();
    context.translate(x, y);
    context.rotate(Math.atan2(-Math.cos(3 * position) * 3 * 0.45 * 260, WIDTH / 1.8)); // the slope's own
    context.fillStyle = colour("body");
    context.beginPath();
    context.roundRect(-22, -26, 44, 18, 5);
    context.fill();
    for (const wheel of [-12, 12]) dot(context, [wheel, -7], 7, colour("link"));
    context.restore();
  },

  Acrobot(context, [a, b], colour) {
    const hub = [WIDTH / 2, 180], length = 80;
    line(context, [[60, hub[1] - length], [WIDTH - 60, hub[1] - length]], 2, colour("goal"));
    const elbow = [hub[0] + length * Math.sin(a), hub[1] + length * Math.cos(a)];
    const tip = [elbow[0] + length * Math.sin(a + b), elbow[1] + length * Math.cos(a + b)];
    line(context, [hub, elbow], 12, colour("body"));
    line(context, [elbow, tip], 12, colour("link"));
    for (const joint of [hub, elbow]) dot(context, joint, 7, colour("ground"));
  },
};

function line(context, points, width, colour) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function dot(context, [x, y], radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

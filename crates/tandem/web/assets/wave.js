// Draws the waveform of a recording when it is first played, and lets a click in it seek.
// @ts-check

const BARS = 240;

/** The loudest sample of each slice of a channel. @param {Float32Array} samples */
function peaks(samples) {
  const size = Math.max(1, Math.floor(samples.length / BARS));
  return Array.from({ length: BARS }, (_, bar) => {
    let peak = 0;
    for (const sample of samples.subarray(bar * size, (bar + 1) * size)) peak = Math.max(peak, Math.abs(sample));
    return peak;
  });
}

/** One half a channel: the first above, the second below. @param {HTMLCanvasElement} canvas @param {number[][]} channels @param {number} played */
function draw(canvas, channels, played) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const scale = window.devicePixelRatio;
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const [done, rest] = [style.getPropertyValue("--accent"), style.getPropertyValue("--line-strong")];
  const middle = height / 2;
  const [above = [], below = above] = channels;
  for (let bar = 0; bar < BARS; bar += 1) {
    pen.fillStyle = bar / BARS < played ? done : rest;
    const up = Math.max(1, (above[bar] ?? 0) * middle);
    const down = Math.max(1, (below[bar] ?? 0) * middle);
    pen.fillRect((bar * width) / BARS, middle - up, Math.max(1, width / BARS - 1), up + down);
  }
}

/** @param {HTMLElement} figure */
function prepare(figure) {
  const audio = /** @type {HTMLAudioElement} */ (figure.querySelector("audio"));
  audio.addEventListener("play", async () => {
    const response = await fetch(figure.dataset.wave ?? "");
    if (!response.ok) return;
    const context = new OfflineAudioContext(2, 1, 48000);
    const sound = await context.decodeAudioData(await response.arrayBuffer());
    const channels = Array.from({ length: sound.numberOfChannels }, (_, channel) => peaks(sound.getChannelData(channel)));
    const canvas = document.createElement("canvas");
    canvas.setAttribute("aria-hidden", "true");
    figure.append(canvas);
    const show = () => draw(canvas, channels, audio.currentTime / (sound.duration || 1));
    canvas.addEventListener("click", (event) => { audio.currentTime = (event.offsetX / canvas.clientWidth) * sound.duration; });
    audio.addEventListener("timeupdate", show);
    new ResizeObserver(show).observe(canvas);
    show();
  }, { once: true });
}

/** @param {ParentNode} root */
function prepareAll(root) {
  for (const figure of root.querySelectorAll("[data-wave]")) prepare(/** @type {HTMLElement} */ (figure));
}

prepareAll(document);
document.body.addEventListener("htmx:afterSwap", (event) => prepareAll(/** @type {HTMLElement} */ (event.target)));

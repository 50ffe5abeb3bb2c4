// @ts-check
/**
 * What a browser phone hears and lets hear: the microphone and why there is none, levels, the bell.
 */

/** How often a level is measured, ms. */
const MEASURE_EVERY = 100;
/**
 * The bell: tones, how long they sound and are silent in seconds, how loud (as in Europe). While somebody talks it only
 * knocks (ITU-T E.180: the call waiting tone).
 * @typedef {{ hertz: number[], on: number, off: number, volume: number }} Stroke
 * @type {{ rings: Stroke, knocks: Stroke }}
 */
const BELL = {
  rings: { hertz: [440, 480], on: 1.2, off: 2.4, volume: 0.15 },
  knocks: { hertz: [425], on: 0.2, off: 4.8, volume: 0.05 },
};

/** A reason, in words for the person at the phone. */
export class SoundError extends Error {}

/**
 * Opens the microphone.
 * @param {string} device its id; "" for the one that the system prefers
 * @returns {Promise<MediaStream>}
 * @throws {SoundError} in words
 */
export async function openMicrophone(device) {
  if (!isSecureContext || !navigator.mediaDevices) {
    throw new SoundError(
      "This page came without encryption, and then a browser gives no microphone. Open it by https, or on this very machine as localhost.",
    );
  }
  const audio = {
    deviceId: device ? { exact: device } : undefined,
    echoCancellation: true,
    noiseSuppression: true,
    autoGainControl: true,
  };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    if (name === "OverconstrainedError" && device) return openMicrophone("");
    throw new SoundError(reasonOf(name));
  }
}

/** @param {string} name of the browser's error */
function reasonOf(name) {
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The microphone is blocked for this page. Allow it beside the address of the page, then try again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in, then try again.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone does not answer: another program may be using it. Close that, then try again.";
    default:
      return "The microphone could not be opened.";
  }
}

/**
 * The microphones and the speakers there are.
 * @returns {Promise<{ microphones: MediaDeviceInfo[], speakers: MediaDeviceInfo[] }>}
 */
export async function listDevices() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const named = (/** @type {string} */ kind) => all.filter((device) => device.kind === kind && device.deviceId !== "");
  return { microphones: named("audioinput"), speakers: named("audiooutput") };
}

/** One audio context for all levels and bells of the page. @type {AudioContext | undefined} */
let context;

/** @returns {AudioContext} */
function sound() {
  context ??= new AudioContext();
  // A context that began without a gesture of the person waits for one.
  if (context.state === "suspended") void context.resume();
  return context;
}

/** Measures how loud a stream is. */
export class Level {
  #source;
  #analyser;
  /** @type {number} */
  #timer;

  /**
   * @param {MediaStream} stream
   * @param {(level: number) => void} show is told the level, 0 to 1
   */
  constructor(stream, show) {
    this.#source = sound().createMediaStreamSource(stream);
    this.#analyser = sound().createAnalyser();
    this.#analyser.fftSize = 1_024;
    this.#source.connect(this.#analyser);
    const samples = new Float32Array(this.#analyser.fftSize);
    this.#timer = setInterval(() => {
      this.#analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      // Speech is at -50 to -10 dB of full scale.
      const decibels = 10 * Math.log10(power + 1e-10);
      show(Math.min(1, Math.max(0, (decibels + 60) / 50)));
    }, MEASURE_EVERY);
  }

  stop() {
    clearInterval(this.#timer);
    this.#source.disconnect();
  }
}

/** The bell of an incoming call; silent until it rings. */
export class Bell {
  /** @type {number | undefined} */
  #timer;
  /** @type {Stroke | null} */
  #sounds = null;
  /** @type {OscillatorNode[]} */
  #tones = [];

  /** @param {boolean} softly somebody talks meanwhile */
  ring(softly) {
    const stroke = softly ? BELL.knocks : BELL.rings;
    if (this.#sounds === stroke) return;
    this.stop();
    this.#sounds = stroke;
    this.#strike(stroke);
    this.#timer = setInterval(() => this.#strike(stroke), (stroke.on + stroke.off) * 1_000);
  }

  stop() {
    clearInterval(this.#timer);
    this.#sounds = null;
    for (const tone of this.#tones) tone.stop();
    this.#tones = [];
  }

  /** @param {Stroke} stroke */
  #strike({ hertz, on, volume }) {
    const audio = sound();
    // Without a gesture of the person nothing can sound, and nothing must pile up.
    if (audio.state !== "running") return;
    const loudness = audio.createGain();
    loudness.gain.value = volume;
    loudness.connect(audio.destination);
    this.#tones = hertz.map((hertz) => {
      const tone = audio.createOscillator();
      tone.frequency.value = hertz;
      tone.connect(loudness);
      tone.start();
      tone.stop(audio.currentTime + on);
      return tone;
    });
  }
}

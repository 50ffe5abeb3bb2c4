// @ts-check
/**
 * What a browser phone hears and lets hear: the microphone and why there is none, levels, the bell.
 */

/** How often a level is measured, ms. */
const MEASURE_EVERY = 100;
/** The bell: two tones, so many seconds on and off (as in Europe). */
const BELL_HERTZ = [440, 480];
const BELL_ON = 1.2;
const BELL_OFF = 2.4;
const BELL_VOLUME = 0.15;

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
  /** @type {OscillatorNode[]} */
  #tones = [];

  ring() {
    if (this.#timer !== undefined) return;
    this.#stroke();
    this.#timer = setInterval(() => this.#stroke(), (BELL_ON + BELL_OFF) * 1_000);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const tone of this.#tones) tone.stop();
    this.#tones = [];
  }

  #stroke() {
    const audio = sound();
    // Without a gesture of the person nothing can sound, and nothing must pile up.
    if (audio.state !== "running") return;
    const volume = audio.createGain();
    volume.gain.value = BELL_VOLUME;
    volume.connect(audio.destination);
    this.#tones = BELL_HERTZ.map((hertz) => {
      const tone = audio.createOscillator();
      tone.frequency.value = hertz;
      tone.connect(volume);
      tone.start();
      tone.stop(audio.currentTime + BELL_ON);
      return tone;
    });
  }
}

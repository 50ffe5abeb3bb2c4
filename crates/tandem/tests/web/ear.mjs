// @ts-check
/** The ear of a page: keeps what a media stream plays, as samples of 16 bits. Runs inside the page. */
export const EAR = `
globalThis.tandemEar = class {
  #context = new AudioContext({ sampleRate: 16000 });
  #chunks = [];
  #node;

  constructor(stream) {
    const source = this.#context.createMediaStreamSource(stream);
    this.#node = this.#context.createScriptProcessor(4096, 1, 1);
    this.#node.onaudioprocess = (event) => {
      const samples = event.inputBuffer.getChannelData(0);
      this.#chunks.push(Int16Array.from(samples, (sample) => Math.max(-1, Math.min(1, sample)) * 32767));
    };
    source.connect(this.#node);
    this.#node.connect(this.#context.destination);
  }

  /** All of it since the last time, in base 64. */
  take() {
    const chunks = this.#chunks;
    this.#chunks = [];
    let text = "";
    for (const chunk of chunks) {
      for (const byte of new Uint8Array(chunk.buffer)) text += String.fromCharCode(byte);
    }
    return btoa(text);
  }
};
`;

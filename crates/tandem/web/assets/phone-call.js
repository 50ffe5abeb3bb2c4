// @ts-check
/**
 * One call of a browser phone: its connection, its keys, its way back after the network has changed.
 *
 * Nothing here draws. A call tells that something about it has changed by `change`; what it is then stands in its
 * members. It ends exactly once.
 */

/** @typedef {import("./phone-line.js").PhoneLine} PhoneLine */
/** @typedef {"calling" | "ringing" | "incoming" | "up" | "ended"} State */

/** How long one key sounds, and the pause behind it, ms. */
const TONE = 120;
const GAP = 70;
/** A connection that is silent for so long is made anew, ms; the browser mends shorter gaps by itself. */
const SILENCE = 4_000;
/** An offer that came too soon after another is made again after this, ms. */
const OFFER_AGAIN = 1_200;

/** Why a call ended, for the person at the phone. @type {Record<string, string>} */
const CAUSES = {
  normal: "The call has ended.",
  busy: "The other phone is busy.",
  rejected: "The call was declined.",
  no_answer: "Nobody answered.",
  canceled: "The caller hung up before you answered.",
  invalid_number: "That is no number that can be called.",
  media_incompatible: "The other phone speaks no codec that a browser knows.",
  congestion: "The server has too many calls just now. Try again in a moment.",
  no_route: "No line leads to that number.",
  unreachable: "The other phone cannot be reached.",
  media_timeout: "The connection was lost: no sound came through for too long.",
  time_limit: "The call has reached its time limit.",
  server_restart: "The server was restarted.",
};

/** @param {string} cause */
export function causeText(cause) {
  return CAUSES[cause] ?? `The call has ended (${cause.replaceAll("_", " ")}).`;
}

/** Dispatches `change`. */
export class PhoneCall extends EventTarget {
  /** @type {State} */
  state;
  muted = false;
  /** We hold the other party. */
  held = false;
  /** The other party holds us. */
  holdsUs = false;
  /** When the other side answered, ms; null before. @type {number | null} */
  since = null;
  /** We have answered, and the other one is still being rung. */
  awaits = false;
  /** Sound comes and goes: never yet, just now, or not any more. @type {"never" | "now" | "lost"} */
  sound = "never";
  /** Why it ended, in words. */
  reason = "";
  /** What is heard. */
  remote = new MediaStream();

  #line;
  /** @type {RTCPeerConnection} */
  #peer;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** @type {number | undefined} */
  #silence;
  /** An offer of ours is under way. */
  #offering = false;
  /** @type {number | undefined} */
  #again;

  /**
   * @param {PhoneLine} line
   * @param {string} id that both sides call it by
   * @param {{ number: string, name?: string }} party
   * @param {State} state it begins in
   * @param {RTCIceServer[]} iceServers
   */
  constructor(line, id, party, state, iceServers) {
    super();
    this.#line = line;
    this.id = id;
    this.party = party;
    this.state = state;
    this.#peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.#peer.ontrack = ({ track }) => {
      this.remote.addTrack(track);
      this.#changed();
    };
    this.#peer.oniceconnectionstatechange = () => this.#watch();
  }

  /** Whether it is over. */
  get ended() {
    return this.state === "ended";
  }

  /**
   * Calls: sends an offer.
   * @param {MediaStream} microphone
   */
  async place(microphone) {
    try {
      this.#attach(microphone);
      const sdp = await this.#offer();
      if (!this.#line.send({ type: "call", id: this.id, to: this.party.number, sdp })) {
        this.end("The server could not be reached.");
      }
    } catch (error) {
      this.end(`The browser could not begin the call: ${error}`);
    }
  }

  /**
   * Takes the offer of a call that comes in; nothing is heard or said before {@link answer}.
   * @param {string} sdp
   */
  async receive(sdp) {
    await this.#peer.setRemoteDescription({ type: "offer", sdp });
  }

  /**
   * Answers it.
   * @param {MediaStream} microphone
   */
  async answer(microphone) {
    if (this.#sender) return;
    this.#attach(microphone);
    await this.#peer.setLocalDescription();
    this.repeatAnswer();
  }

  /** Sends the answer, if it has been given: the one before may have been lost with the socket. */
  repeatAnswer() {
    if (this.#peer.localDescription?.type !== "answer") return;
    this.#line.send({ type: "answer", id: this.id, sdp: this.#description() });
  }

  /** Makes the connections of a call anew that outlived a page. @param {MediaStream} microphone */
  async resume(microphone) {
    this.#attach(microphone);
    this.#line.send({ type: "offer", id: this.id, sdp: await this.#offer() });
  }

  /** The server's answer to an offer of ours. @param {string} sdp */
  async accept(sdp) {
    if (this.#peer.signalingState !== "have-local-offer") return;
    await this.#peer.setRemoteDescription({ type: "answer", sdp });
    this.#offering = false;
  }

  hangUp() {
    this.#line.send({ type: "hangup", id: this.id });
    this.end("The call has ended.");
  }

  reject() {
    this.#line.send({ type: "reject", id: this.id });
    this.end("You declined the call.");
  }

  /** @param {boolean} on */
  hold(on) {
    this.#line.send({ type: "hold", id: this.id, on });
  }

  /** @param {string} to whom the other party is to talk with */
  transfer(to) {
    this.#line.send({ type: "transfer", id: this.id, to });
  }

  /** The other one has answered: from now on they talk. */
  join() {
    if (!this.awaits) return;
    this.awaits = false;
    this.since = Date.now();
    this.#changed();
  }

  /** @param {boolean} on */
  mute(on) {
    this.muted = on;
    if (this.#sender?.track) this.#sender.track.enabled = !on;
    this.#changed();
  }

  /** Sends keys, behind those that still sound. @param {string} keys of 0-9, *, #, A-D */
  press(keys) {
    const dtmf = this.#sender?.dtmf;
    // A connection that knows no events has them sent by word.
    if (!dtmf?.canInsertDTMF) return this.#line.send({ type: "dtmf", id: this.id, digits: keys });
    dtmf.insertDTMF(dtmf.toneBuffer + keys, TONE, GAP);
    return true;
  }

  /** Another microphone speaks from now on. @param {MediaStream} microphone */
  async speakBy(microphone) {
    const [track] = microphone.getAudioTracks();
    if (!track || !this.#sender) return;
    const before = this.#sender.track;
    const own = track.clone();
    own.enabled = !this.muted;
    await this.#sender.replaceTrack(own);
    before?.stop();
  }

  /**
   * The network has changed: looks for a way again.
   * @param {boolean} [afresh] the socket was lost, and with it the answer to whatever was offered
   */
  async restart(afresh = false) {
    if (this.ended || !this.#sender || (this.#offering && !afresh)) return;
    const sdp = await this.#offer({ iceRestart: true });
    if (!this.#line.send({ type: "offer", id: this.id, sdp })) this.#offering = false;
  }

  /** The server took no offer just now: makes another one in a moment. */
  offerLater() {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => void this.restart(true), OFFER_AGAIN);
  }

  /** What the server says about this call. @param {import("./phone-line.js").Frame} frame */
  take(frame) {
    switch (frame.type) {
      case "answer":
        void this.accept(frame.sdp).catch(() => this.#broken());
        return;
      case "ringing":
        this.state = "ringing";
        break;
      case "answered":
        this.state = "up";
        this.since = Date.now();
        break;
      case "held":
      case "resumed":
        if (frame.by === "phone") this.held = frame.type === "held";
        else this.holdsUs = frame.type === "held";
        break;
      case "ended":
        this.end(frame.cause === "rejected" && this.state === "up" ? "The server ended the call." : causeText(frame.cause));
        return;
    }
    this.#changed();
  }

  /** It is over. @param {string} reason in words */
  end(reason) {
    if (this.ended) return;
    this.state = "ended";
    this.reason = reason;
    clearTimeout(this.#silence);
    clearTimeout(this.#again);
    this.#sender?.track?.stop();
    this.#peer.close();
    this.#changed();
  }

  /** @param {MediaStream} microphone */
  #attach(microphone) {
    const track = microphone.getAudioTracks()[0]?.clone();
    if (!track) return;
    track.enabled = !this.muted;
    // With an offer of the server's this takes the line of it that is there.
    this.#sender = this.#peer.addTrack(track, microphone);
  }

  /** @param {RTCOfferOptions} [options] */
  async #offer(options) {
    this.#offering = true;
    await this.#peer.setLocalDescription(await this.#peer.createOffer(options));
    return this.#description();
  }

  #description() {
    return this.#peer.localDescription?.sdp ?? "";
  }

  #watch() {
    const state = this.#peer.iceConnectionState;
    if (state === "connected" || state === "completed") this.sound = "now";
    else if (this.sound === "now") this.sound = "lost";
    clearTimeout(this.#silence);
    if (state === "failed") void this.restart();
    else if (state === "disconnected") this.#silence = setTimeout(() => this.#doubt(), SILENCE);
    this.#changed();
  }

  /** No sound for a while: perhaps the network is another one, and the socket is dead too. */
  #doubt() {
    if (this.#peer.iceConnectionState !== "disconnected") return;
    this.#line.probe();
    void this.restart();
  }

  #broken() {
    this.#line.send({ type: "hangup", id: this.id });
    this.end("The browser could not read the server's description of the call.");
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

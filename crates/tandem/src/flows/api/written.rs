//! A flow as its author writes it, for the OpenAPI document and nothing else: the server reads flows by
//! `flows::check`, which tells all errors at once.
//!
//! Invariant: a field, a default and a range stand here as the check has them; the tests ask the check.
#![expect(dead_code, reason = "only the schemas of these types are used")]

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The sample of document 003.
const SAMPLE: &str = include_str!("../../cli/demo/sample.json");

/// The sample flow with words in place of credentials.
pub fn sample() -> Value {
    let mut sample: Value = serde_json::from_str(SAMPLE).unwrap_or_default();
    if let Some(members) = sample.as_object_mut() {
        members.shift_remove("cloud_sid");
        members.insert("cloud_id".to_owned(), "dev".into());
        members.insert("auth_token".to_owned(), "pt_...".into());
    }
    sample
}

/// What `POST /call/flow` takes.
///
/// The credentials may be left out when the header `Authorization: Bearer` carries one.
#[derive(Deserialize, ToSchema)]
pub(super) struct FlowRequest {
    /// Slug of the organisation.
    #[schema(required = false, example = "dev")]
    cloud_id: String,
    /// A person's token.
    #[schema(required = false, example = "pt_...")]
    auth_token: String,
    /// Of the organisation; if it is given, it must be right.
    #[schema(required = false)]
    cloud_sid: String,
    #[serde(flatten)]
    body: FlowBody,
}

/// What `/v1/flows` keeps.
#[derive(Deserialize, ToSchema)]
pub(super) struct FlowDraft {
    /// For people; must be there when a flow is made.
    #[schema(required = false, example = "welcome")]
    name: String,
    #[serde(flatten)]
    body: FlowBody,
}

/// The steps, and what holds for all of them.
#[derive(Deserialize, ToSchema)]
pub(super) struct FlowBody {
    /// Record the whole call.
    #[schema(required = false, default = false, example = true)]
    record: bool,
    /// Where this run's events go, besides the organisation's webhooks.
    #[schema(required = false)]
    publish: Publish,
    /// The first step is the entry, and the only one that may be a `call`.
    #[schema(max_items = 200)]
    flow: Vec<Step>,
}

/// A webhook of one run.
#[derive(Deserialize, ToSchema)]
#[schema(as = FlowPublish)]
pub(super) struct Publish {
    /// http or https.
    #[schema(example = "https://example.com/events")]
    url: String,
    /// POST or PUT.
    #[schema(required = false, default = "POST", example = "PUT")]
    method: String,
    /// `whsec_` and base64; the organisation's own when absent.
    #[schema(required = false)]
    secret: String,
    /// Types such as `call.completed` or `call.*`; all when absent.
    #[schema(required = false, example = json!(["call.*"]))]
    events: Vec<String>,
}

/// One step; `type` says which.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = FlowStep)]
pub(super) enum Step {
    Call(CallStep),
    Play(PlayStep),
    Digits(DigitsStep),
    Menu(MenuStep),
    Http(HttpStep),
    Connect(ConnectStep),
    Conference(ConferenceStep),
    Callback(CallbackStep),
    Hangup(HangupStep),
    Pause(PauseStep),
    Set(SetStep),
    Branch(BranchStep),
    Record(RecordStep),
    Voicemail(VoicemailStep),
    Transfer(TransferStep),
    SendDtmf(SendDtmfStep),
    Queue(QueueStep),
    Stream(StreamStep),
}

/// A step's id, or a telephone number: a text or a whole number (1 is "1").
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum TextOrInteger {
    Text(String),
    Integer(u64),
}

/// What every step has.
#[derive(Deserialize, ToSchema)]
pub(super) struct StepCommon {
    /// Its name in this flow, 1 to 64 characters.
    #[schema(value_type = TextOrInteger, example = 1)]
    id: TextOrInteger,
    /// The step that follows whatever has no edge of its own.
    #[schema(required = false, value_type = TextOrInteger, example = 2)]
    next_step: TextOrInteger,
    /// Outcomes and the steps that they lead to.
    #[schema(required = false, value_type = BTreeMap<String, TextOrInteger>)]
    flow: BTreeMap<String, TextOrInteger>,
}

/// Rings the customer; the flow goes on when he answers. Edges: `busy`, `no_answer`, `failed`.
#[derive(Deserialize, ToSchema)]
pub(super) struct CallStep {
    #[serde(flatten)]
    common: StepCommon,
    /// An extension, a team, a number of the world, or a `sip:` address.
    #[schema(value_type = TextOrInteger, example = "1001")]
    number: TextOrInteger,
    /// A number of the organisation's own; another is replaced.
    #[schema(required = false, value_type = TextOrInteger, example = "+442071838750")]
    caller_id: TextOrInteger,
    /// How long it rings, in seconds.
    #[schema(required = false, default = 60, minimum = 5, maximum = 600, example = 30)]
    timeout: f64,
    /// How long the whole call may last, in seconds from the answer on.
    #[schema(required = false, default = 14400, minimum = 1, maximum = 86400, example = 600)]
    time_limit: u32,
}

/// A sound: a text to speak, a URL to play, or both; then the text is spoken when the URL fails.
#[derive(Deserialize, ToSchema)]
#[schema(as = FlowSound)]
pub(super) struct Sound {
    /// Spoken; `{{ name }}` is filled in.
    #[schema(required = false, max_length = 4000, example = "Hello.")]
    text: String,
    /// wav, mp3, ogg or opus.
    #[schema(required = false, example = "https://example.com/hello.mp3")]
    url: String,
    /// A voice's name.
    #[schema(required = false, example = "slt")]
    voice: String,
    /// The text's language.
    #[schema(required = false, example = "en")]
    language: String,
}

/// A text to speak, or a sound with `text` and `url`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = FlowPrompt)]
pub(super) enum Prompt {
    Text(String),
    Sound(Sound),
}

/// Speaks a text or plays a URL (also `say`). Edge: `fail`.
#[derive(Deserialize, ToSchema)]
pub(super) struct PlayStep {
    #[serde(flatten)]
    common: StepCommon,
    #[serde(flatten)]
    sound: Sound,
    /// How often.
    #[schema(required = false, default = 1, minimum = 1, maximum = 20, example = 2)]
    r#loop: u32,
    /// A key ends it.
    #[schema(required = false, default = false, example = true)]
    bargein: bool,
}

/// Gathers keys (also `keypad`, `input`). Edges: inputs such as `1` or `1234`, `*` for any, `timeout`, `invalid`.
#[derive(Deserialize, ToSchema)]
pub(super) struct DigitsStep {
    #[serde(flatten)]
    common: StepCommon,
    #[serde(flatten)]
    gathering: Gathering,
    /// Heard first, at every try.
    #[schema(required = false, example = "Your number, please.")]
    prompt: Prompt,
}

/// `digits` with its prompt written into the step.
#[derive(Deserialize, ToSchema)]
pub(super) struct MenuStep {
    #[serde(flatten)]
    common: StepCommon,
    #[serde(flatten)]
    sound: Sound,
    #[serde(flatten)]
    gathering: Gathering,
    /// How often the prompt is heard in a row.
    #[schema(required = false, default = 1, minimum = 1, maximum = 20, example = 2)]
    r#loop: u32,
}

/// How keys are gathered.
#[derive(Deserialize, ToSchema)]
pub(super) struct Gathering {
    /// So many keys complete the input.
    #[schema(required = false, default = 1, minimum = 1, maximum = 64, example = 4)]
    count: u32,
    /// Fewer are invalid; not above `count`.
    #[schema(required = false, default = 1, minimum = 0, maximum = 64, example = 0)]
    min_digits: u32,
    /// How long to wait for the first key, in seconds: 10 in a call when it is left out, 600 in a chat.
    #[schema(required = false, minimum = 0.5, maximum = 600, example = 5)]
    timeout: f64,
    /// How long to wait for each further key, in seconds.
    #[schema(required = false, default = 5, minimum = 0.2, maximum = 60, example = 3)]
    inter_digit_timeout: f64,
    /// Completes the input and is no part of it: one of 0-9, A-D, * and #, or "" for none. `#` when absent, unless
    /// an edge waits for that key.
    #[schema(required = false, example = "*")]
    finish_on_key: String,
    /// How often the customer may try.
    #[schema(required = false, default = 1, minimum = 1, maximum = 10, example = 3)]
    tries: u32,
    /// The variable that keeps the input, besides `digits`.
    #[schema(required = false, example = "account_id")]
    variable: String,
    /// Keep the input out of events, history and recording.
    #[schema(required = false, default = false, example = true)]
    sensitive: bool,
    /// A key cuts the prompt short.
    #[schema(required = false, default = true, example = false)]
    bargein: bool,
}

/// What somebody hears who waits: `music`, `ringback`, `silence`, a URL, or a sound.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = FlowMusic)]
pub(super) enum Music {
    Word(String),
    Sound(Sound),
}

/// Asks a URL while the customer waits. Edges: `success` (2xx), `fail` (all else).
#[derive(Deserialize, ToSchema)]
pub(super) struct HttpStep {
    #[serde(flatten)]
    common: StepCommon,
    /// http or https; `{{ name }}` in its path and query only.
    #[schema(example = "https://example.com/accounts/{{account_id}}")]
    url: String,
    /// GET, POST, PUT, PATCH or DELETE.
    #[schema(required = false, default = "GET", example = "POST")]
    method: String,
    /// Additional headers, 50 at most.
    #[schema(required = false, value_type = BTreeMap<String, String>, example = json!({"X-Source": "tandem"}))]
    headers: BTreeMap<String, String>,
    /// Additional query parameters, 50 at most.
    #[schema(required = false, value_type = BTreeMap<String, String>, example = json!({"caller": "{{call.from}}"}))]
    query: BTreeMap<String, String>,
    /// Sent as JSON; not with `body`.
    #[schema(required = false, value_type = Object, example = json!({"account": "{{account_id}}"}))]
    json: Value,
    /// Sent as it is, its values escaped by the Content-Type; not with `json`.
    #[schema(required = false, example = "account={{account_id}}")]
    body: String,
    /// How long to wait for the whole answer, in seconds.
    #[schema(required = false, default = 10, minimum = 1, maximum = 30, example = 5)]
    timeout: f64,
    /// How often to ask again when it cannot be reached or answers 502, 503 or 504.
    #[schema(required = false, default = 0, minimum = 0, maximum = 3, example = 1)]
    retries: u32,
    /// Variables, and the JSON pointers of their values in the answer.
    #[schema(required = false, value_type = BTreeMap<String, String>, example = json!({"name": "/customer/name"}))]
    save: BTreeMap<String, String>,
    /// What the customer hears meanwhile; silence when absent.
    #[schema(required = false, example = "music")]
    hold_music: Music,
}

/// Rings somebody and joins him with the customer (also `dial`). Edges: `completed`, `busy`, `no_answer`, `rejected`,
/// `failed`.
#[derive(Deserialize, ToSchema)]
pub(super) struct ConnectStep {
    #[serde(flatten)]
    common: StepCommon,
    /// Whom to ring; this or `targets`.
    #[schema(required = false, value_type = TextOrInteger, example = "5263")]
    number: TextOrInteger,
    /// Several to ring; this or `number`.
    #[schema(required = false, value_type = Vec<TextOrInteger>, min_items = 1, max_items = 20, example = json!(["1002", "1003"]))]
    targets: Vec<TextOrInteger>,
    /// A number of the organisation's own; another is replaced.
    #[schema(required = false, value_type = TextOrInteger, example = "+442071838750")]
    caller_id: TextOrInteger,
    /// How long each rings, in seconds.
    #[schema(required = false, default = 30, minimum = 1, maximum = 600, example = 20)]
    timeout: f64,
    /// How long they may talk, in seconds; as long as the call may last when absent.
    #[schema(required = false, minimum = 1, maximum = 86400, example = 600)]
    time_limit: u32,
    /// simultaneous or sequential.
    #[schema(required = false, default = "simultaneous", example = "sequential")]
    strategy: String,
    /// What the answering party hears before he is joined.
    #[schema(required = false, example = "A customer of the shop.")]
    whisper: Prompt,
    /// The key by which he accepts: one of 0-9, A-D, * and #.
    #[schema(required = false, example = "1")]
    accept_key: String,
    /// What the customer hears meanwhile; a ringing tone when absent.
    #[schema(required = false, example = "music")]
    hold_music: Music,
    /// Record the conversation.
    #[schema(required = false, default = false, example = true)]
    record: bool,
}

/// Brings the customer into a room with all others who are in it, until somebody takes him out or ends it. Edges: `ended`,
/// `full`, `failed`.
#[derive(Deserialize, ToSchema)]
pub(super) struct ConferenceStep {
    #[serde(flatten)]
    common: StepCommon,
    /// The room's name in the organisation: 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`.
    #[schema(value_type = TextOrInteger, example = "sales")]
    room: TextOrInteger,
    /// Record the conference.
    #[schema(required = false, default = false, example = true)]
    record: bool,
    /// Come in muted.
    #[schema(required = false, default = false, example = true)]
    muted: bool,
    /// Most members, the customer included.
    #[schema(required = false, default = 50, minimum = 2, maximum = 100, example = 10)]
    max: u32,
}

/// Books a call between a person or team and the customer, and goes on. Edge: `fail`.
#[derive(Deserialize, ToSchema)]
pub(super) struct CallbackStep {
    #[serde(flatten)]
    common: StepCommon,
    /// YYYY-MM-DD.
    #[schema(example = "2031-10-11")]
    date: String,
    /// HH:MM or HH:MM:SS.
    #[schema(example = "20:48")]
    time: String,
    /// A name of the IANA database.
    #[schema(required = false, default = "UTC", example = "Europe/London")]
    timezone: String,
    /// The number of a person or team.
    #[schema(value_type = TextOrInteger, example = 5263)]
    entity: TextOrInteger,
    /// entity_first or customer_first.
    #[schema(required = false, default = "entity_first", example = "customer_first")]
    order: String,
    /// skip, asap or fail.
    #[schema(required = false, default = "skip", example = "asap")]
    on_past: String,
    /// Attempts in all.
    #[schema(required = false, default = 3, minimum = 1, maximum = 4, example = 2)]
    attempts: u32,
}

/// Hangs up; nothing follows.
#[derive(Deserialize, ToSchema)]
pub(super) struct HangupStep {
    /// Its name in this flow.
    #[schema(value_type = TextOrInteger, example = 1)]
    id: TextOrInteger,
}

/// Waits in silence.
#[derive(Deserialize, ToSchema)]
pub(super) struct PauseStep {
    #[serde(flatten)]
    common: StepCommon,
    /// How long.
    #[schema(minimum = 1, maximum = 600, example = 2)]
    seconds: f64,
}

/// Gives variables values, as they stand.
#[derive(Deserialize, ToSchema)]
pub(super) struct SetStep {
    #[serde(flatten)]
    common: StepCommon,
    /// Names and texts, 50 at most.
    #[schema(value_type = BTreeMap<String, String>, example = json!({"language": "en"}))]
    vars: BTreeMap<String, String>,
}

/// Compares a variable. Edges: `true`, `false`.
#[derive(Deserialize, ToSchema)]
pub(super) struct BranchStep {
    #[serde(flatten)]
    common: StepCommon,
    /// Its name.
    #[schema(example = "call.from")]
    variable: String,
    /// eq, ne, lt, gt, matches or exists.
    #[schema(example = "matches")]
    op: String,
    /// What it is compared with; a regular expression for `matches`, left out for `exists`.
    #[schema(required = false, example = "^\\+44")]
    value: String,
}

/// Starts, stops, pauses or resumes the recording of the call.
#[derive(Deserialize, ToSchema)]
pub(super) struct RecordStep {
    #[serde(flatten)]
    common: StepCommon,
    /// start, stop, pause or resume.
    #[schema(example = "start")]
    action: String,
}

/// Records a message into the box of a person.
#[derive(Deserialize, ToSchema)]
pub(super) struct VoicemailStep {
    #[serde(flatten)]
    common: StepCommon,
    /// The extension of a person.
    #[schema(value_type = TextOrInteger, example = "1002")]
    r#box: TextOrInteger,
    /// Longest message, in seconds.
    #[schema(required = false, default = 180, minimum = 1, maximum = 3600, example = 60)]
    max: f64,
    /// Silence that ends it, in seconds.
    #[schema(required = false, default = 5, minimum = 1, maximum = 60, example = 3)]
    silence: f64,
    /// A tone says when to speak.
    #[schema(required = false, default = true, example = false)]
    beep: bool,
}

/// Hands the customer to another number for good; nothing follows.
#[derive(Deserialize, ToSchema)]
pub(super) struct TransferStep {
    /// Its name in this flow.
    #[schema(value_type = TextOrInteger, example = 1)]
    id: TextOrInteger,
    /// An extension, a team, a number of the world, or a `sip:` address.
    #[schema(value_type = TextOrInteger, example = "5263")]
    to: TextOrInteger,
}

/// Sends keys to the customer's side, as an answering system asks for them.
#[derive(Deserialize, ToSchema)]
pub(super) struct SendDtmfStep {
    #[serde(flatten)]
    common: StepCommon,
    /// 1 to 32 of 0-9, A-D, * and #; `w` waits half a second, `W` a whole one.
    #[schema(max_length = 32, example = "1w23#")]
    digits: String,
}

/// Waits for somebody of a team. Edges: `bridged`, `timeout`, `full`, `callback`.
#[derive(Deserialize, ToSchema)]
pub(super) struct QueueStep {
    #[serde(flatten)]
    common: StepCommon,
    /// The number of a team.
    #[schema(value_type = TextOrInteger, example = "5263")]
    team: TextOrInteger,
    /// Longest wait, in seconds.
    #[schema(required = false, default = 300, minimum = 1, maximum = 14_400, example = 120)]
    timeout: f64,
    /// So many may wait, the newcomer among them.
    #[schema(required = false, default = 100, minimum = 1, maximum = 1_000, example = 20)]
    max_waiting: u32,
    /// What is heard meanwhile; the built-in music when absent.
    #[schema(required = false, example = "ringback")]
    music: Music,
    /// Tell him where he stands, and how long it may take.
    #[schema(required = false, default = true, example = false)]
    announce_position: bool,
    /// The key by which he asks to be called back and keeps his place: one of 0-9, A-D, * and #.
    #[schema(required = false, example = "1")]
    callback_key: String,
}

/// Streams the audio to a program at the other end of a WebSocket. Edges: `closed`, `failed`.
#[derive(Deserialize, ToSchema)]
pub(super) struct StreamStep {
    #[serde(flatten)]
    common: StepCommon,
    /// ws or wss; variables only behind its host.
    #[schema(example = "wss://bot.example.com/media")]
    url: String,
    /// bidirectional, or a copy that says nothing: inbound, outbound or both_tracks.
    #[schema(required = false, default = "bidirectional", example = "inbound")]
    track: String,
    /// Told to the program when the stream starts.
    #[schema(required = false, value_type = BTreeMap<String, String>, example = json!({"lane": "sales"}))]
    params: BTreeMap<String, String>,
}

#[cfg(test)]
#[path = "written_tests.rs"]
mod tests;
